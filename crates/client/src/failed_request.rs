//! Why a request to the License Server failed.

use license_service::tls_explanation::{Subject, tls_error};
use url::Url;

use crate::server_certificate::explain;

/// Maximum number of headers of a response. The HTTP library's default is 100.
pub(crate) const MAX_HEADERS: usize = 256;

/// The setting that contains the address.
const SETTING: &str = "LICENSE_API_URL";

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The kind of failure.
    pub kind: CauseKind,
    /// The problem and how to fix it, or the innermost cause. The outermost message would repeat
    /// the address, which may contain a password.
    pub text: String,
}

/// The kind of failure of a [`Cause`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CauseKind {
    /// The server's certificate.
    Certificate,
    /// What the server offers or requires in TLS.
    Handshake,
    /// The head of the response is too large or malformed.
    Head,
    /// Anything else.
    Connection,
}

/// Why a request to `url` failed.
#[must_use]
pub fn cause(error: &reqwest::Error, url: &Url) -> Cause {
    let of = |kind, text| Cause { kind, text };
    let mut cause: &(dyn std::error::Error + 'static) = error;
    let mut innermost = "the request could not be sent".to_owned();
    while let Some(source) = cause.source() {
        cause = source;
        innermost = cause.to_string();
        let explained = tls_error(cause).and_then(|error| explain(error, url, SETTING));
        if let Some(explained) = explained {
            let kind = match explained.subject {
                Subject::Certificate => CauseKind::Certificate,
                Subject::Handshake => CauseKind::Handshake,
            };
            return of(kind, explained.text);
        }
        if cause.downcast_ref().is_some_and(hyper::Error::is_parse) {
            // The library's only error for bytes that are not an HTTP response, such as a TLS
            // alert.
            if !innermost.starts_with("invalid HTTP version") {
                return of(
                    CauseKind::Head,
                    format!(
                        "{innermost}: the server or a proxy sent more than {MAX_HEADERS} headers, \
                         or malformed headers"
                    ),
                );
            }
            if url.scheme() == "http" {
                innermost.push_str(
                    "; the server does not speak HTTP: if it speaks TLS, write https:// in \
                     LICENSE_API_URL",
                );
            }
            return of(CauseKind::Connection, innermost);
        }
    }
    of(CauseKind::Connection, innermost)
}
