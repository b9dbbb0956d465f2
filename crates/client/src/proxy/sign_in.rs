//! Why a proxy demands a sign-in, and what to do about it: the same for tunnels and for requests
//! that the proxy passes on.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, PROXY_AUTHENTICATE};
use url::Url;

use super::{ProxySettings, Route, authority};

/// The scheme that this program supports (RFC 7617).
const BASIC: &str = "Basic";
/// Maximum number of schemes that are shown, and the maximum length of each.
const MAX_SCHEMES: usize = 5;
const MAX_SCHEME_CHARS: usize = 20;

/// The answer of a proxy that demands a sign-in (HTTP 407).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxySignIn {
    /// The proxy's host and port.
    proxy: String,
    /// The variable that names the proxy.
    variable: &'static str,
    /// Whether the variable contains a user name or a password, which were sent.
    is_refused: bool,
    /// The schemes that the proxy offers (RFC 9110, section 11.7.1); it may name none.
    schemes: Vec<String>,
}

impl ProxySignIn {
    /// Reads an answer to a call of `url`. `None` if it is another answer, or there is no proxy on
    /// the route.
    pub(crate) fn demanded(
        proxies: &ProxySettings,
        url: &Url,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<Self> {
        if status != StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return None;
        }
        let Ok(Route::Through { variable, proxy }) = proxies.route(url) else {
            return None;
        };
        let proxy = proxy.expose();
        Some(Self {
            proxy: authority(proxy)?,
            variable,
            is_refused: !proxy.username().is_empty() || proxy.password().is_some(),
            schemes: schemes(headers),
        })
    }

    fn supports_basic(&self) -> bool {
        let is_basic = |scheme: &String| scheme.eq_ignore_ascii_case(BASIC);
        self.schemes.is_empty() || self.schemes.iter().any(is_basic)
    }

    fn offered(&self) -> String {
        self.schemes.join(" and ")
    }

    /// What the proxy does.
    pub(crate) fn what(&self) -> String {
        let Self {
            proxy, variable, ..
        } = self;
        match (self.supports_basic(), self.is_refused) {
            (false, _) => format!(
                "the proxy {proxy} requires a sign-in (HTTP 407) and offers only {}",
                self.offered()
            ),
            (true, true) => format!(
                "the proxy {proxy} refused the user name and the password in {variable} (HTTP 407)"
            ),
            (true, false) => format!("the proxy {proxy} requires a sign-in (HTTP 407)"),
        }
    }

    /// What to do.
    pub(crate) fn advice(&self) -> String {
        let Self { variable, .. } = self;
        match (self.supports_basic(), self.is_refused) {
            (false, _) => format!(
                "only Basic is supported: set {variable} to a local proxy such as cntlm or px, which \
                 signs in for this machine, or have the proxy allow Basic, or calls from this \
                 machine without a sign-in"
            ),
            (true, true) => format!(
                "correct the user name and the password in {variable}, with special characters \
                 percent-encoded, such as %40 for @ and %5C for \\"
            ),
            (true, false) => format!(
                "include the user name and the password in {variable}: \
                 http://user:password@host:port"
            ),
        }
    }
}

/// The names of the offered schemes, each once. A header may contain several challenges,
/// separated by commas like the parameters of one challenge (RFC 9110, section 11.6.1).
fn schemes(headers: &HeaderMap) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let texts = headers.get_all(PROXY_AUTHENTICATE).into_iter();
    for text in texts.filter_map(|value| value.to_str().ok()) {
        let mut is_quoted = false;
        let parts = text.split(|c: char| {
            is_quoted ^= c == '"';
            c == ',' && !is_quoted
        });
        for name in parts.filter_map(|part| part.split_whitespace().next()) {
            let is_name = name.len() <= MAX_SCHEME_CHARS
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let is_new = !found.iter().any(|it| it.eq_ignore_ascii_case(name));
            if is_name && is_new && found.len() < MAX_SCHEMES {
                found.push(name.to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn headers(offered: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in offered {
            headers.append(PROXY_AUTHENTICATE, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_schemes_are_read_from_one_header_and_from_several() {
        let table: [(&[&'static str], &[&str]); 6] = [
            (&[], &[]),
            (&["Negotiate", "NTLM"], &["Negotiate", "NTLM"]),
            (&["Negotiate, NTLM, negotiate"], &["Negotiate", "NTLM"]),
            (
                &[r#"Digest realm="a, Basic b", qop="auth", nonce="x", Basic realm="y""#],
                &["Digest", "Basic"],
            ),
            (&["NTLM TlRMTVNTUAACAAAA=="], &["NTLM"]),
            (&["realm=\"x\", ,<script>"], &[]),
        ];
        for (offered, expected) in table {
            assert_eq!(schemes(&headers(offered)), expected, "{offered:?}");
        }
    }

    #[test]
    fn the_advice_names_the_variable_in_use_and_fits_what_was_sent_and_offered() {
        let shown = |variable: &'static str, proxy: &str, url: &str, offered: &[&'static str]| {
            let set = |asked: &'static str| (asked == variable).then(|| proxy.to_owned());
            let url = Url::parse(url).unwrap();
            let status = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
            let proxies = ProxySettings::read(set);
            let demanded = ProxySignIn::demanded(&proxies, &url, status, &headers(offered));
            demanded.map(|it| format!("{}; {}", it.what(), it.advice()))
        };
        let (https, http) = ("https://license.test/api", "http://license.test/api");
        let without = shown("HTTP_PROXY", "http://p:3128", http, &["Basic realm=\"p\""]);
        let without = without.unwrap();
        assert!(without.contains("include the user name and the password in HTTP_PROXY"));
        let refused = shown("all_proxy", "http://u:secret@p:3128", https, &[]).unwrap();
        assert!(refused.contains("p:3128 refused the user name and the password in all_proxy"));
        assert!(!refused.contains("secret"), "{refused}");
        for proxy in ["http://p:3128", "http://u:secret@p:3128"] {
            let other = shown("HTTPS_PROXY", proxy, https, &["Negotiate", "NTLM"]).unwrap();
            assert!(other.contains("offers only Negotiate and NTLM;"), "{other}");
            assert!(other.contains("cntlm or px"), "{other}");
        }
        // The answer of the License Server itself is not a proxy's.
        assert_eq!(shown("HTTP_PROXY", "http://p:3128", https, &[]), None);
    }
}
