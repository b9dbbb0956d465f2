//! The database that the service uses.

pub(crate) mod as_libpq;
mod several_hosts;
mod url_file;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use crate::presentable_url::{SecretUrl, presentable_absolute, presentable_path};
use crate::variables;
use several_hosts::asks_for_several_hosts;
use url_file::UrlFile;

/// A database that the service can use. `Display` and `Debug` show no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    File {
        file: PathBuf,
        /// The URL that names a relative file and may have been meant for an absolute one.
        ambiguous: bool,
    },
    Postgres {
        url: SecretUrl,
        /// Why parameters of the URL have no effect.
        ignored: Option<String>,
        /// The file that contains it.
        file: Option<Arc<UrlFile>>,
    },
}

/// The parameters that the database library knows; it would log any other parameter with its value.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];
/// Parameters of other libraries that must not be ignored, and what to write instead.
const REPLACED: [(&str, &str); 4] = [
    (
        "ssl",
        "use sslmode=require, or sslmode=verify-full with sslrootcert=FILE",
    ),
    ("currentSchema", "use options=-csearch_path=NAME"),
    ("search_path", "use options=-csearch_path=NAME"),
    ("schema", "use options=-csearch_path=NAME"),
];

impl DatabaseUrl {
    /// An SQLite file.
    #[must_use]
    pub fn of_file(file: &Path) -> Self {
        Self(Place::File {
            file: file.to_owned(),
            ambiguous: false,
        })
    }

    /// The current URL in the spelling of the database library. It may contain a password: never log it.
    #[must_use]
    pub fn expose(&self) -> String {
        match &self.0 {
            Place::File { file, .. } => format!("sqlite:{}", file.display()),
            Place::Postgres { url, file, .. } => {
                let current = file.as_ref().and_then(|file| file.current());
                current.as_ref().unwrap_or(url).expose().to_string()
            }
        }
    }

    /// The same URL, which was read from this file: see [`Self::reread`].
    #[must_use]
    pub fn in_file(mut self, path: PathBuf) -> Self {
        if let Place::Postgres { file, .. } = &mut self.0 {
            *file = Some(Arc::new(UrlFile::new(path)));
        }
        self
    }

    /// Reads the file of the URL again, if there is one and it was not read in the last second:
    /// orchestrators replace passwords while services run. Afterwards [`Self::expose`] of all
    /// clones returns the new URL. What cannot be used is logged, and the previous URL stays.
    pub async fn reread(&self) {
        if let Place::Postgres {
            file: Some(file), ..
        } = &self.0
        {
            file.reread(self).await;
        }
    }

    /// The file of an SQLite database.
    #[must_use]
    pub fn sqlite_file(&self) -> Option<&Path> {
        match &self.0 {
            Place::File { file, .. } => Some(file),
            Place::Postgres { .. } => None,
        }
    }

    /// What stands behind `sqlite:`. The error never repeats it.
    fn of_sqlite(text: &str) -> Result<Self, String> {
        // A missing file is always created.
        let text = text.strip_suffix("?mode=rwc").unwrap_or(text);
        if text.contains('?') {
            return Err(
                "an SQLite URL must not have parameters; expected sqlite:/path/to/file".into(),
            );
        }
        // SQLAlchemy, and so version 1.0.0, writes sqlite:///relative and sqlite:////absolute. Other
        // programs read the first one as absolute.
        let sqlalchemy = text.strip_prefix("///");
        let file = sqlalchemy.unwrap_or(text);
        if file.is_empty() {
            return Err("expected a file in the SQLite URL: sqlite:/path/to/file".into());
        }
        // This may be a server's URL with the wrong scheme, and messages show the names of
        // files.
        let has_user = file
            .split_once(':')
            .is_some_and(|(_, rest)| rest.contains('@'));
        if has_user || file.starts_with("//") {
            return Err("an SQLite URL must not contain a user or a host; expected \
                sqlite:/path/to/file"
                .into());
        }
        Ok(Self(Place::File {
            file: file.into(),
            ambiguous: sqlalchemy.is_some() && !file.starts_with('/'),
        }))
    }

    /// What to warn of: the URL can be read in two ways, and is read as version 1.0.0 read it; or
    /// parameters have no effect.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let file = match &self.0 {
            Place::Postgres { ignored, .. } => return ignored.clone(),
            Place::File {
                ambiguous: false, ..
            } => return None,
            Place::File { file, .. } => file,
        };
        let (relative, absolute) = (presentable_path(file), presentable_absolute(file));
        Some(format!(
            "DATABASE_URL 'sqlite:///{relative}' means the file '{absolute}', as in version 1.0.0; \
             write 'sqlite:{relative}' for this file, or 'sqlite:/{relative}' for the file \
             '/{relative}'"
        ))
    }

    /// Whether the URL contains anything that may be a secret.
    #[must_use]
    pub fn may_contain_secret(&self) -> bool {
        match &self.0 {
            Place::File { .. } => false,
            Place::Postgres { url, .. } => url.may_contain_secret(),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    /// The error never repeats the text.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(file) = text.strip_prefix("sqlite:") {
            return Self::of_sqlite(file);
        }
        // SQLAlchemy names its driver after a plus sign.
        let postgres = text
            .split_once("://")
            .filter(|(scheme, _)| {
                let scheme = scheme.split('+').next().unwrap_or_default();
                scheme == "postgresql" || scheme == "postgres"
            })
            .map(|(_, rest)| format!("postgresql://{rest}"))
            .ok_or("expected postgresql://user:password@host:5432/name or sqlite:FILE")?;
        if asks_for_several_hosts(&postgres) {
            return Err(
                "expected one host: put HAProxy or pgBouncer in front of several PostgreSQL \
                 servers and use its address; target_session_attrs is not supported"
                    .into(),
            );
        }
        // With a user but no host, the host is in the query, or the socket.
        let postgres = match Url::parse(&postgres) {
            Err(url::ParseError::EmptyHost) => postgres.replacen("@/", "@localhost/", 1),
            _ => postgres,
        };
        let postgres = as_libpq::with_socket_as_parameter(&postgres).unwrap_or(postgres);
        let url =
            SecretUrl::parse(&postgres, &["postgresql"]).map_err(|error| error.to_string())?;
        let (url, unknown) = with_known_parameters(url.expose().clone());
        for (name, instead) in REPLACED {
            if unknown.iter().any(|it| it.eq_ignore_ascii_case(name)) {
                return Err(format!(
                    "the parameter '{name}' is not supported: {instead}"
                ));
            }
        }
        let ignored = ignored(&url, &unknown);
        let url = as_libpq::with_verified_certificate(url)?;
        // The library's own message would repeat the value.
        PgConnectOptions::from_url(&url)
            .map_err(|_| "a parameter after the ? of the URL has an unexpected value")?;
        let url = SecretUrl::parse(url.as_str(), &["postgresql"]);
        let url = url.map_err(|error| error.to_string())?;
        let url = Self(Place::Postgres {
            url,
            ignored,
            file: None,
        });
        Ok(match variables::source_of(text) {
            Some(file) => url.in_file(file.to_owned()),
            None => url,
        })
    }
}

/// The URL without the parameters that the database library does not know, such as those specific
/// to libpq, and their names.
fn with_known_parameters(mut url: Url) -> (Url, Vec<String>) {
    let is_known = |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[");
    let pairs = url.query_pairs().into_owned();
    let (pairs, unknown): (Vec<_>, Vec<_>) = pairs.partition(|(name, _)| is_known(name));
    url.set_fragment(None);
    url.set_query(None);
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    (url, unknown.into_iter().map(|(name, _)| name).collect())
}

/// Why these parameters have no effect. They are not named if they may be parts of a password with
/// an `&`.
fn ignored(url: &Url, unknown: &[String]) -> Option<String> {
    // The only value that passes the check above is the default.
    let names = unknown.iter().filter(|it| *it != "target_session_attrs");
    let names: Vec<_> = names.map(String::as_str).collect();
    if names.is_empty() {
        return None;
    }
    let has_password = url.query_pairs().any(|(name, _)| name == "password");
    let is_plain = |name: &str| {
        name.chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    };
    let which = match has_password || !names.iter().all(|name| is_plain(name)) {
        true => format!("{} of its parameters", names.len()),
        false => names.join(", "),
    };
    Some(format!(
        "DATABASE_URL: this program does not support {which} (ignored); the parameters of \
         libpq that it supports are sslmode, sslrootcert, sslcert, sslkey, host, hostaddr, \
         application_name and options"
    ))
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Scheme, host and port; of an SQLite database, its file.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Postgres { url, .. } => fmt::Display::fmt(url, f),
            Place::File { file, .. } => write!(f, "sqlite:{}", presentable_path(file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_urls_of_sqlalchemy_are_understood() {
        let parsed = |text: &str| text.parse::<DatabaseUrl>().map(|url| url.expose());
        let expected = Ok("postgresql://u:p@h:5432/d".to_owned());
        assert_eq!(parsed("postgresql://u:p@h:5432/d"), expected);
        assert_eq!(parsed(" postgres://u:p@h:5432/d\n"), expected);
        assert_eq!(parsed("postgresql+psycopg2://u:p@h:5432/d"), expected);
        assert_eq!(
            parsed("postgresql://u:p@/d?host=/run/postgresql"),
            Ok("postgresql://u:p@localhost/d?host=%2Frun%2Fpostgresql".to_owned())
        );
        assert_eq!(
            parsed("postgresql:///d?host=/run/postgresql"),
            Ok("postgresql:///d?host=%2Frun%2Fpostgresql".to_owned())
        );
        assert_eq!(parsed("sqlite:////var/db"), Ok("sqlite:/var/db".to_owned()));
        assert_eq!(parsed("sqlite:///db"), Ok("sqlite:db".to_owned()));
        assert!(parsed("mysql://h/d").is_err());
        assert!(parsed("sqlite:").is_err());
        assert_eq!(parsed("sqlite:/db?mode=rwc"), Ok("sqlite:/db".to_owned()));
    }

    #[test]
    fn a_url_that_others_read_as_an_absolute_file_is_warned_of() {
        let warning = |text: &str| text.parse::<DatabaseUrl>().unwrap().warning();
        let said = warning("sqlite:///var/lib/x.db").unwrap();
        let meant = std::path::absolute("var/lib/x.db").unwrap();
        for part in [
            format!("means the file '{}'", meant.display()),
            "'sqlite:var/lib/x.db'".to_owned(),
            "'sqlite:/var/lib/x.db'".to_owned(),
        ] {
            assert!(said.contains(&part), "{said}");
        }
        for text in [
            "sqlite:var/lib/x.db",
            "sqlite:/var/lib/x.db",
            "sqlite:////var/lib/x.db",
            "postgresql://h/d",
        ] {
            assert_eq!(warning(text), None, "{text}");
        }
    }

    #[test]
    fn a_database_password_is_never_shown() {
        for text in [
            "postgresql://u:hunter2@h/d",
            "postgresql://u@h/d?password=hunter2",
            "postgresql://u@h/d?sslpassword=hunter2",
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert!(!format!("{url} {url:?}").contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn the_name_of_a_file_is_shown() {
        for text in ["sqlite:/data/a b#c.db", "sqlite:/data/vms@site.db"] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!(format!("{url} {url:?}"), format!("{text} {text}"));
        }
    }

    #[test]
    fn parameters_that_nobody_reads_are_not_passed_on_to_a_library_that_logs_them() {
        let text = "postgresql://u@h/d?sslmode=require&sslpassword=hunter2&connect_timeout=5";
        let url: DatabaseUrl = text.parse().unwrap();
        assert_eq!(url.expose(), "postgresql://u@h/d?sslmode=require");
        let text = "postgresql://u:p,w@h/d?target_session_attrs=any&options=-c%20a%3D1,2";
        assert!(text.parse::<DatabaseUrl>().is_ok());
    }

    #[test]
    fn ignored_parameters_are_warned_of_by_name_and_never_with_a_password() {
        let warning = |text: &str| text.parse::<DatabaseUrl>().unwrap().warning();
        let said = warning("postgresql://u@h/d?connect_timeout=hunter2&sslmode=require&x").unwrap();
        let start = "DATABASE_URL: this program does not support connect_timeout, x (ignored)";
        assert!(said.starts_with(start), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        // The rest of a password with an ampersand.
        let said = warning("postgresql://h/d?user=u&password=a&hunter2").unwrap();
        assert!(said.contains("support 1 of its parameters"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        for text in [
            "postgresql://u@h/d?target_session_attrs=any",
            "postgresql://u@h/d?options=-csearch_path=lic&application_name=x",
        ] {
            assert_eq!(warning(text), None, "{text}");
        }
    }

    #[test]
    fn a_malformed_url_is_refused_without_being_shown_with_a_hint() {
        for (text, hint) in [
            ("postgresql://vms:2024/hunter2@db/vms", "/ is %2F"),
            ("postgresql://vms:2024#hunter2@db/vms", "# is %23"),
            ("postgresql://vms:hunter2#x@db/vms", "# is %23"),
            ("postgresql://u@h/d?sslmode=hunter2", "parameter"),
            ("mysql://vms:hunter2@db/vms", "postgresql://"),
            ("postgresql://u:hunter2@h1,h2/d", "one host"),
            ("postgresql://u:hunter2@h1:5432,h2:5433/d", "one host"),
            ("postgres+asyncpg://u:hunter2@h1:5432,h2/d", "pgBouncer"),
            ("postgresql://h1,hunter2/d", "one host"),
            ("postgresql://u:hunter2@/d?host=h1,h2", "one host"),
            ("postgresql://u:hunter2@/d?host=/run/a%2C/run/b", "one host"),
            ("postgresql://u:hunter2@h/d?port=1,2", "one host"),
            (
                "postgresql://u:hunter2@h/d?target_session_attrs=read-write",
                "target_session_attrs",
            ),
            ("postgresql://u:hunter2@h/d?ssl=true", "use sslmode=require"),
            (
                "postgres+asyncpg://u:hunter2@h/d?ssl=require",
                "verify-full",
            ),
            (
                "postgresql://u:hunter2@h/d?currentSchema=lic",
                "'currentSchema' is not supported: use options=-csearch_path=NAME",
            ),
            (
                "postgresql://u:hunter2@h/d?search_path=lic",
                "-csearch_path",
            ),
            ("postgresql://u:hunter2@h/d?a=b&schema=lic", "-csearch_path"),
            // A password that contains a comma is not a list.
            ("postgresql://u:p,/hunter2@h/d", "/ is %2F"),
            ("sqlite://vms:hunter2@db/vms", "a user or a host"),
            ("sqlite:vms:hunter2@db/vms", "a user or a host"),
            ("sqlite://hunter2@h/d", "a user or a host"),
            ("sqlite://hunter2.db", "a user or a host"),
            ("sqlite:/d?key=hunter2", "must not have parameters"),
            ("sqlite:/d?mode=rwc&key=hunter2", "must not have parameters"),
        ] {
            let error = text.parse::<DatabaseUrl>().unwrap_err();
            assert!(error.contains(hint), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
