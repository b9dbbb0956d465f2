//! The HTTP client of the License Server.
//!
//! It sends and receives, and leaves to `license_core::contact` what an
//! answer means. TLS is always verified, redirects are never followed, answers
//! are read up to a limit.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use license_core::contact::{Reply, Request, TransportFailure};
use license_core::hardware::Component;
use license_core::protocol::{
    Call, DRIFT_HEADER, IDEMPOTENCY_HEADER, INSTALLATION_ID_HEADER, KEYS, NONCE_HEADER, SEQ_HEADER,
};
use license_service::clock::Clock;
use license_service::presentable_url::SecretUrl;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, ClientBuilder, RequestBuilder};
use uuid::Uuid;

use crate::certificate_time::tls_config;

/// Longest answer that is read, in bytes. A license with thousands of
/// features stays far below.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// A connection to one License Server.
#[derive(Debug, Clone)]
pub struct Upstream {
    http: reqwest::Client,
    base_url: SecretUrl,
    timeout: Duration,
}

/// Who sends a request.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The installation.
    pub installation_id: String,
    /// The components that have changed, when so much has changed that the
    /// machine may be another one. Only their names are sent.
    pub drift: Option<Vec<Component>>,
    /// The highest sequence number that is known for the license: the License
    /// Server notices when two machines share one identity.
    pub newest_seq: Option<u64>,
}

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// `LICENSE_CA_FILE` is not a list of PEM certificates.
    #[error("LICENSE_CA_FILE cannot be used: {0}")]
    Roots(reqwest::Error),
    /// `LICENSE_CA_FILE` has no certificate in it.
    #[error("LICENSE_CA_FILE cannot be used: there is no PEM certificate in it")]
    NoRoots,
    /// TLS or proxy settings of the system are unusable.
    #[error("the HTTP client cannot be set up: {0:?}")]
    Client(reqwest::Error),
}

/// Makes an HTTP client that trusts the system's certificate authorities and
/// `extra_roots`. A system without any, such as an empty container, has to do
/// with the extra ones: plain HTTP works, and HTTPS fails when it is used.
///
/// # Errors
/// When TLS or proxy settings are unusable.
pub fn http_client(
    configure: impl Fn() -> ClientBuilder,
    extra_roots: Vec<Certificate>,
) -> reqwest::Result<reqwest::Client> {
    match configure().tls_certs_merge(extra_roots.clone()).build() {
        Ok(client) => Ok(client),
        Err(error) => {
            let client = configure().tls_certs_only(extra_roots).build()?;
            tracing::warn!(
                %error,
                "this system has no certificate authorities; only those of LICENSE_CA_FILE are trusted"
            );
            Ok(client)
        }
    }
}

/// Reads certificate authorities (PEM).
///
/// # Errors
/// When there is none, or one cannot be read.
pub fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, UpstreamError> {
    let found = Certificate::from_pem_bundle(pem).map_err(UpstreamError::Roots)?;
    if found.is_empty() {
        return Err(UpstreamError::NoRoots);
    }
    Ok(found)
}

impl Upstream {
    /// Makes a client for the License Server at `base_url`, which trusts the
    /// system's certificate authorities and those of `extra_roots` (PEM).
    /// `timeout` bounds a whole call, from the name look-up to the last byte.
    /// With `effective`, a certificate may also be valid at that time.
    ///
    /// # Errors
    /// One [`UpstreamError`] for each part that cannot be set up.
    pub fn new(
        base_url: &SecretUrl,
        timeout: Duration,
        extra_roots: Option<&[u8]>,
        effective: Option<Arc<dyn Clock>>,
    ) -> Result<Self, UpstreamError> {
        let roots = extra_roots
            .map(authorities)
            .transpose()?
            .unwrap_or_default();
        // A system without any authority gets the usual client: plain HTTP
        // works, and HTTPS fails when it is used.
        let tls = effective.and_then(|clock| tls_config(extra_roots, clock).ok());
        let configure = || {
            let builder = reqwest::Client::builder();
            let builder = match &tls {
                Some(tls) => builder.tls_backend_preconfigured(tls.clone()),
                None => builder,
            };
            builder
                .user_agent(concat!(
                    "foxsight-license-client/",
                    env!("CARGO_PKG_VERSION")
                ))
                .redirect(Policy::none())
                .timeout(timeout)
                .pool_idle_timeout(Duration::from_secs(30))
        };
        let http = match &tls {
            Some(_) => configure().build(),
            None => http_client(configure, roots),
        };
        let http = http.map_err(UpstreamError::Client)?;
        Ok(Self {
            http,
            base_url: base_url.clone(),
            timeout,
        })
    }

    /// Makes a call, with a new `nonce` that the answer must repeat.
    pub async fn ask<R: Request>(&self, sender: &Sender, request: &R, nonce: &str) -> Reply {
        let mut post = self
            .http
            .post(self.url(R::PATH))
            .header(INSTALLATION_ID_HEADER, &sender.installation_id)
            .header(NONCE_HEADER, nonce)
            .json(request);
        if R::CALL == Call::Activate {
            post = post.header(IDEMPOTENCY_HEADER, Uuid::new_v4().to_string());
        }
        if let Some(seq) = sender.newest_seq {
            post = post.header(SEQ_HEADER, seq);
        }
        if let Some(drift) = &sender.drift {
            let names: Vec<&str> = drift.iter().map(|c| c.as_str()).collect();
            post = post.header(DRIFT_HEADER, names.join(","));
        }
        self.send(post).await
    }

    /// Asks for the signed key sets after version `after`.
    pub async fn key_sets(&self, after: u64) -> Reply {
        let url = self.url(&format!("{KEYS}?after={after}"));
        self.send(self.http.get(url)).await
    }

    /// It may hold a password: never log it.
    fn url(&self, path: &str) -> String {
        let base = self.base_url.expose().as_str().trim_end_matches('/');
        format!("{base}{path}")
    }

    async fn send(&self, request: RequestBuilder) -> Reply {
        match self.exchange(request).await {
            Ok((status, body, retry_after)) => Reply::of(status, body, retry_after),
            Err(failure) => Reply::Failure(failure),
        }
    }

    async fn exchange(
        &self,
        request: RequestBuilder,
    ) -> Result<(u16, Vec<u8>, Option<Duration>), TransportFailure> {
        let mut answer = request.send().await.map_err(|e| self.failure(&e))?;
        let status = answer.status().as_u16();
        let retry_after = retry_after(answer.headers());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| self.failure(&e))? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                let limit = LONGEST_ANSWER;
                return Err(TransportFailure::TooLong { limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body, retry_after))
    }

    fn failure(&self, error: &reqwest::Error) -> TransportFailure {
        if error.is_timeout() {
            let seconds = self.timeout.as_secs();
            return TransportFailure::TimedOut { seconds };
        }
        let mut innermost: &dyn std::error::Error = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        // The outermost text would repeat the address, which may hold a password.
        let detail = if error.source().is_some() {
            innermost.to_string()
        } else {
            "the request could not be sent".to_owned()
        };
        TransportFailure::Unreachable { detail }
    }
}

/// How long an answer asks to wait (RFC 9110, section 10.2.3): seconds, or an
/// instant, which is compared with the answer's own date and with no clock of ours.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let instant = |text: &str| DateTime::parse_from_rfc2822(text).ok();
    let asked = text(RETRY_AFTER)?;
    if asked.bytes().all(|byte| byte.is_ascii_digit()) && !asked.is_empty() {
        // What is too long for a number is longer than anybody waits.
        return Some(Duration::from_secs(asked.parse().unwrap_or(u64::MAX)));
    }
    let wait = instant(asked)? - instant(text(DATE)?)?;
    Some(wait.to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_an_instant_after_the_answers_own_date() {
        let wait = |asked: &'static str, date: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(asked));
            headers.insert(DATE, HeaderValue::from_static(date));
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        let date = "Tue, 24 Nov 2026 12:00:00 GMT";
        for (asked, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Tue, 24 Nov 2026 12:01:30 GMT", Some(90)),
            ("Tue, 24 Nov 2026 11:00:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(wait(asked, date), expected, "{asked}");
        }
        assert_eq!(wait("Tue, 24 Nov 2026 12:01:30 GMT", ""), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn a_file_of_authorities_has_at_least_one() {
        let begun = "-----BEGIN CERTIFICATE-----\nYQ==\n";
        for pem in ["", "hello", "/etc/ssl/certs\n", begun] {
            assert!(authorities(pem.as_bytes()).is_err(), "{pem}");
        }
        let none = authorities(b"hello").unwrap_err();
        assert!(none.to_string().contains("no PEM certificate"), "{none}");
    }
}
