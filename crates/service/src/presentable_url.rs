//! Shows URLs as scheme, host and port, and never anything that may be a secret.

use std::fmt;
use std::io;
use std::path::Path;

use url::Url;

/// Shown instead of a URL that can be read in more than one way.
pub const HIDDEN: &str = "****";

/// The schemes that are valid in settings of both programs.
const SCHEMES: [&str; 9] = [
    "http",
    "https",
    "postgresql",
    "postgres",
    "socks",
    "socks4",
    "socks4a",
    "socks5",
    "socks5h",
];

/// A URL that may contain a user name, a password, or a secret in its path or query. `Display` and
/// `Debug` show its scheme, host and port only.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Url);

/// Why a text is not accepted as a URL. The text itself is never part of the
/// message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretUrlError {
    /// It is malformed, or can be read in more than one way.
    #[error(
        "the URL is malformed or ambiguous; percent-encode special characters in the user name and \
         the password: # is %23, / is %2F, ? is %3F, @ is %40, : is %3A, \\ is %5C, % is %25"
    )]
    Ambiguous,
    /// It has an unexpected scheme.
    #[error("the URL has an unexpected scheme")]
    Scheme,
}

impl SecretUrl {
    /// Parses a URL with one of `schemes`, in lower case. Spaces around it are ignored.
    ///
    /// # Errors
    /// If the text is not such a URL, or when other programs may read another part of it as the
    /// host: the host shown could then be part of the password.
    pub fn parse(text: &str, schemes: &[&str]) -> Result<Self, SecretUrlError> {
        let text = text.trim();
        if !has_one_reading(text) {
            return Err(SecretUrlError::Ambiguous);
        }
        let url = Url::parse(text).map_err(|_| SecretUrlError::Ambiguous)?;
        if !schemes.contains(&url.scheme()) {
            return Err(SecretUrlError::Scheme);
        }
        if !url.host_str().is_none_or(is_plain_host) {
            return Err(SecretUrlError::Ambiguous);
        }
        Ok(Self(url))
    }

    /// The URL with its secrets, to connect with. Never log it.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// Whether the URL contains anything that may be a secret: a password or a query.
    #[must_use]
    pub fn may_contain_secret(&self) -> bool {
        self.0.password().is_some() || self.0.query().is_some()
    }
}

/// The displayable form of any URL in a setting.
#[must_use]
pub fn presentable(text: &str) -> String {
    SecretUrl::parse(text, &SCHEMES).map_or_else(|_| HIDDEN.to_owned(), |url| url.to_string())
}

/// The displayable value of a setting that is a list of URLs, or not a URL at all: it may contain
/// a URL anyway.
#[must_use]
pub fn presentable_value(text: &str) -> String {
    if !text.contains("://") {
        return text.to_owned();
    }
    // A comma may also be part of a password.
    if text.contains('@') {
        return HIDDEN.to_owned();
    }
    let entries: Vec<String> = text.split(',').map(presentable).collect();
    entries.join(",")
}

/// The displayable name of a file in a setting: it may be a URL with a password by mistake.
#[must_use]
pub fn presentable_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    // `user:password@host` has no scheme, or lost one of its slashes.
    if let Some((before, _)) = text.rsplit_once('@')
        && before.contains(':')
    {
        return HIDDEN.to_owned();
    }
    presentable_value(&text)
}

/// The same for a path relative to the working directory, shown as an absolute path.
#[must_use]
pub fn presentable_absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path);
    presentable_path(absolute.as_deref().unwrap_or(path))
}

/// Why a file cannot be used, without its name, which some libraries add.
#[must_use]
pub fn reason_without_path(error: &io::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Whether only one part of a text can be the host. A password with a raw
/// `/`, `?`, `#` or `\` ends the authority too early, so that the `@` comes
/// after it; one with a raw `@` makes a second `@`.
fn has_one_reading(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let signs = rest.matches('@').count();
    let is_in_authority = signs == authority.matches('@').count();
    signs <= 1 && is_in_authority && !rest.contains(char::is_control)
}

/// Host names, addresses, and IPv6 addresses in brackets: nothing encoded.
fn is_plain_host(host: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    host.chars().all(is_plain)
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        write!(f, "{}://{host}", self.0.scheme())?;
        match self.0.port() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::database_url::DatabaseUrl;

    #[test]
    fn scheme_host_and_port_are_shown_and_nothing_else() {
        for (text, shown) in [
            ("http://proxy:3128", "http://proxy:3128"),
            (
                "https://me:hunter2@licenses.example/api",
                "https://licenses.example",
            ),
            (
                "https://hunter2@h:8443/hunter2?k=hunter2#x",
                "https://h:8443",
            ),
            (
                "postgresql://vms:hunter2@[::1]:5432/vms",
                "postgresql://[::1]:5432",
            ),
            ("postgresql://vms:hun%2Fter2@db/vms", "postgresql://db"),
            ("postgresql:///vms?host=/run/postgresql", "postgresql://"),
            (" http://h ", "http://h"),
        ] {
            assert_eq!(presentable(text), shown, "{text}");
        }
    }

    #[test]
    fn what_may_be_read_in_two_ways_is_not_shown() {
        for text in [
            "postgresql://vms:2024/hunter2@db/vms",
            "postgresql://vms:2024#hunter2@db/vms",
            "postgresql://vms:2024?hunter2@db/vms",
            "http://vms:2024\\hunter2@db",
            "http:\\\\vms:hunter2@db",
            "http:vms:hunter2@db",
            "http:///vms:hunter2@db",
            "postgresql://vms:hunter2%40db/vms",
            "postgresql://hunter2%40db/vms",
            "postgresql://vms:a@hunter2/b@db/vms",
            "postgresql://vms:a@hunter2@db/vms",
            "https://h/hunter2@2",
            "corp:hunter2@proxy:3128",
            "corp:x://hunter2@proxy:3128",
            "hunter2://proxy",
            "http://vms:hunt\ner2@db",
            "http://vms\thunter2",
            "mysql://vms:hunter2@db",
            "hunter2",
            "",
        ] {
            assert_eq!(presentable(text), HIDDEN, "{text}");
        }
    }

    #[test]
    fn errors_do_not_repeat_the_text() {
        for text in ["postgresql://vms:2024/hunter2@db/vms", "hunter2://db"] {
            let error = SecretUrl::parse(text, &["postgresql"]).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
        let hint = SecretUrlError::Ambiguous.to_string();
        for encoded in ["# is %23", "/ is %2F", "? is %3F", "@ is %40"] {
            assert!(hint.contains(encoded), "{hint}");
        }
    }

    /// A password, as random as it gets, that holds something to search for.
    fn password() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[ -~]{0,6}",
            "[@:/?#%\\\\ ]{0,4}",
            "[0-9]{1,5}",
            Just("://".to_owned()),
            Just("%40".to_owned()),
            "\\PC{0,4}",
        ];
        (piece.clone(), piece.clone(), piece)
            .prop_map(|(before, between, after)| format!("{before}Zx9{between}Zx9{after}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_piece_of_a_password_is_ever_shown(secret in password(), numbers in "[0-9]{1,4}") {
            for text in [
                format!("postgresql://vms:{secret}@db:5432/vms"),
                format!("postgresql://vms:{numbers}{secret}@db/vms"),
                format!("postgresql://vms:{numbers}/{secret}@db/vms"),
                format!("postgresql+psycopg2://{secret}@db/vms"),
                format!("postgresql://vms@db/vms?password={secret}"),
                format!("postgresql://vms:{secret}@/vms?host=/run/postgresql"),
                format!("http://corp:{secret}@proxy:3128"),
                format!("corp:{secret}@proxy:3128"),
                format!("https://h/{secret}/api"),
                format!("https://h/api?key={secret}"),
                format!("https://h/api#{secret}"),
                format!("socks5h://{secret}@h"),
            ] {
                let mut shown = presentable(&text);
                if text.contains("://") {
                    shown.push_str(&presentable_value(&text));
                }
                match text.parse::<DatabaseUrl>() {
                    Ok(url) => shown.push_str(&format!("{url} {url:?}")),
                    Err(error) => shown.push_str(&error),
                }
                match SecretUrl::parse(&text, &SCHEMES) {
                    Ok(url) => shown.push_str(&format!("{url} {url:?}")),
                    Err(error) => shown.push_str(&format!("{error} {error:?}")),
                }
                prop_assert!(!shown.to_lowercase().contains("zx9"), "{text}: {shown}");
            }
        }
    }

    #[test]
    fn a_file_name_is_shown_unless_it_may_hold_a_password() {
        for (path, shown) in [
            ("/etc/license/keys.json", "/etc/license/keys.json"),
            ("keys@2026.json", "keys@2026.json"),
            ("C:keys.json", "C:keys.json"),
            ("http://u:pa55@h", HIDDEN),
            ("HTTP://u:pa55@h/keys.json", HIDDEN),
            ("http:/u:pa55@h/keys.json", HIDDEN),
            ("u:pa55@h", HIDDEN),
            ("//u:pa55@h/.tmp1", HIDDEN),
            ("http://pa55@h", HIDDEN),
            ("http://h/pa55?pa55", "http://h"),
            ("http://u:pa55", HIDDEN),
        ] {
            assert_eq!(presentable_path(Path::new(path)), shown, "{path}");
        }
    }
}
