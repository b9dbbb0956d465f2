//! The HTTP client of the License Server.
//!
//! It sends requests and receives responses, which `license_core::response` interprets. TLS is
//! always verified, redirects are never followed, and responses are read up to a limit.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use license_core::hardware::Component;
use license_core::installation_key::InstallationKey;
use license_core::proof::{CallAddress, Statement, create};
use license_core::protocol::{
    Call, DRIFT_HEADER, ENTITLEMENTS_HEADER, IDEMPOTENCY_HEADER, INSTALLATION_ID_HEADER, KEYS,
    NONCE_HEADER, PREVIEW, PROOF_HEADER, PROOF_SCHEME, PreviewRequest, SEQ_HEADER,
};
use license_core::response::{Reply, Request, TransportFailure};
use license_service::clock::Clock;
use license_service::presentable_url::{SecretUrl, presentable_path};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, RequestBuilder, StatusCode};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::certificate_file::{self, CertificatesError, certificates};
use crate::failed_request::{CauseKind, MAX_HEADERS, cause};
use crate::proxy::sign_in::ProxySignIn;
use crate::proxy::{ProxyError, ProxySettings, Route};
use crate::server_certificate::tls_config;
use crate::tunnel::TunnelAnswer;

/// Maximum size of a response, in bytes. A license with thousands of features is far smaller.
pub(crate) const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Maximum number of proofs that are made for one call.
const MAX_PROOFS: usize = 3;

/// A connection to one License Server.
pub struct Upstream {
    base_url: SecretUrl,
    timeout: Duration,
    ca_file: Option<PathBuf>,
    effective: Option<Arc<dyn Clock>>,
    proxies: ProxySettings,
    /// Held while it is rebuilt.
    made: Mutex<Made>,
    /// A call has failed since then, or a reload was requested: authorities may have changed.
    is_stale: AtomicBool,
}

/// The client and its inputs.
struct Made {
    http: reqwest::Client,
    /// The content of `LICENSE_CA_FILE`.
    listed: Option<Vec<u8>>,
}

/// The sender of a request.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The installation.
    pub installation_id: String,
    /// The changed components, if so many have changed that the machine may be another one. Only
    /// their names are sent.
    pub drift: Option<Vec<Component>>,
    /// The highest known sequence number of the license, with which the License Server detects that
    /// two machines share one identity.
    pub newest_seq: Option<u64>,
    /// With what the sender proves who it is; `None` before the installation has a key.
    pub prover: Option<Prover>,
}

/// With what a sender proves who it is.
#[derive(Clone, Debug)]
pub struct Prover {
    /// The installation key.
    pub key: Arc<InstallationKey>,
    /// The newest signed license that the site has, of the license of the call.
    pub document: Option<String>,
    /// The time of the site's clock.
    pub at: DateTime<Utc>,
}

/// Why the client cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// `LICENSE_CA_FILE` is not a list of certificates.
    #[error("LICENSE_CA_FILE cannot be used: {0}")]
    Certificates(#[from] CertificatesError),
    /// `LICENSE_CA_FILE` cannot be read.
    #[error("LICENSE_CA_FILE: the file '{file}' cannot be read: {error}")]
    CaFile {
        /// The file.
        file: String,
        /// The cause.
        error: std::io::Error,
    },
    /// The proxy settings cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// A certificate of `LICENSE_CA_FILE` cannot be used.
    #[error("LICENSE_CA_FILE cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// TLS settings of the system are unusable.
    #[error("the HTTP client cannot be set up: {0:?}")]
    Client(reqwest::Error),
}

/// Creates an HTTP client that trusts the system's certificate authorities. On a system without any,
/// such as an empty container, plain HTTP works, and HTTPS fails when it is used.
///
/// # Errors
/// If TLS or proxy settings are unusable.
pub fn http_client(configure: impl Fn() -> ClientBuilder) -> reqwest::Result<reqwest::Client> {
    let client = configure().build();
    client.or_else(|_| configure().tls_certs_only([]).build())
}

/// Creates the client for calls to the License Server at `base_url`, through the proxy that
/// `proxies` name for it. It trusts the system's authorities and the certificates of `ca_file`.
/// `timeout` bounds a whole call. With `effective`, a certificate may also be valid at that time.
///
/// # Errors
/// One [`UpstreamError`] for each part that cannot be set up.
pub fn license_server_client(
    base_url: &SecretUrl,
    timeout: Duration,
    ca_file: Option<&[u8]>,
    effective: Option<Arc<dyn Clock>>,
    proxies: &ProxySettings,
) -> Result<reqwest::Client, UpstreamError> {
    let listed = ca_file.map(certificates).transpose()?.unwrap_or_default();
    let proxy = match proxies.route(base_url.expose())? {
        Route::Direct | Route::Listed { .. } => None,
        Route::Through { proxy, .. } => {
            let proxy = reqwest::Proxy::all(proxy.expose().clone());
            Some(proxy.map_err(UpstreamError::Client)?)
        }
    };
    let tls = tls_config(listed, effective)?;
    let builder = reqwest::Client::builder()
        .user_agent(concat!(
            "foxsight-license-client/",
            env!("CARGO_PKG_VERSION")
        ))
        .redirect(Policy::none())
        .timeout(timeout)
        .http1_max_headers(MAX_HEADERS)
        .pool_idle_timeout(Duration::from_secs(30))
        .no_proxy()
        .tls_backend_preconfigured(tls);
    let client = match proxy {
        Some(proxy) => builder.proxy(proxy).build(),
        None => builder.build(),
    };
    client.map_err(UpstreamError::Client)
}

/// Reads a file that may be on a slow file system.
async fn read_in_background(file: PathBuf) -> std::io::Result<Vec<u8>> {
    let reading = tokio::task::spawn_blocking(move || certificate_file::read(&file));
    reading.await.unwrap_or_else(|error| Err(error.into()))
}

impl Upstream {
    /// Creates the connection; the arguments are those of [`license_server_client`], with the name
    /// of the file.
    ///
    /// # Errors
    /// One [`UpstreamError`] for each part that cannot be set up.
    pub fn new(
        base_url: &SecretUrl,
        timeout: Duration,
        ca_file: Option<&Path>,
        effective: Option<Arc<dyn Clock>>,
        proxies: &ProxySettings,
    ) -> Result<Self, UpstreamError> {
        let listed = ca_file.map(certificate_file::read).transpose();
        let listed = listed.map_err(|error| UpstreamError::CaFile {
            file: ca_file.map(presentable_path).unwrap_or_default(),
            error,
        })?;
        let of = listed.as_deref();
        let http = license_server_client(base_url, timeout, of, effective.clone(), proxies)?;
        Ok(Self {
            base_url: base_url.clone(),
            timeout,
            ca_file: ca_file.map(Path::to_owned),
            effective,
            proxies: proxies.clone(),
            made: Mutex::new(Made { http, listed }),
            is_stale: AtomicBool::new(false),
        })
    }

    /// Reloads the certificates before the next call: those of the system and those of
    /// `LICENSE_CA_FILE`.
    pub fn renew(&self) {
        self.is_stale.store(true, Ordering::SeqCst);
    }

    /// The HTTP client for calls. It is rebuilt when `LICENSE_CA_FILE` has changed or a call has
    /// failed; if that fails, the previous one stays in use.
    pub async fn client(&self) -> reqwest::Client {
        let mut made = self.made.lock().await;
        let listed = match &self.ca_file {
            None => None,
            Some(file) => match read_in_background(file.clone()).await {
                Ok(listed) => Some(listed),
                Err(error) => {
                    let file = presentable_path(file);
                    tracing::warn!(file, %error, "cannot read LICENSE_CA_FILE, keeping the \
                        previous certificates");
                    return made.http.clone();
                }
            },
        };
        let is_changed = listed != made.listed;
        if !self.is_stale.swap(false, Ordering::SeqCst) && !is_changed {
            return made.http.clone();
        }
        let (of, effective) = (listed.as_deref(), self.effective.clone());
        let renewed =
            license_server_client(&self.base_url, self.timeout, of, effective, &self.proxies);
        match renewed {
            Ok(http) => {
                if is_changed {
                    tracing::info!("LICENSE_CA_FILE reloaded");
                }
                *made = Made { http, listed };
            }
            Err(error) => tracing::error!(
                %error,
                "failed to reload the certificates, keeping the previous ones"
            ),
        }
        made.http.clone()
    }

    /// Makes a call, with a new `nonce` that the response must repeat. If the License Server asks for a
    /// proof that names a newer number, the call is repeated with such a proof, three times
    /// in all: another replica may have called meanwhile.
    pub async fn ask<R: Request>(&self, sender: &Sender, request: &R, nonce: &str) -> Reply {
        let mut challenge = None;
        for _ in 0..MAX_PROOFS {
            match self.ask_once(sender, request, nonce, challenge).await {
                Asked::Answered(reply) => return reply,
                Asked::ProofOutdated { newest } => challenge = Some(newest),
            }
        }
        Reply::Unproven
    }

    async fn ask_once<R: Request>(
        &self,
        sender: &Sender,
        request: &R,
        nonce: &str,
        challenge: Option<u64>,
    ) -> Asked {
        let http = self.client().await;
        let url = self.url(R::PATH);
        // A struct of texts and numbers can always be serialized as JSON.
        let body = serde_json::to_vec(request).unwrap_or_default();
        let proof = sender.proof(&url, &body, nonce, challenge);
        let mut post = http
            .post(url)
            .header(INSTALLATION_ID_HEADER, &sender.installation_id)
            .header(NONCE_HEADER, nonce)
            .header(ENTITLEMENTS_HEADER, "1")
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        if let Some(proof) = proof {
            post = post.header(PROOF_HEADER, proof);
        }
        if matches!(R::CALL, Call::Activate | Call::Trial) {
            post = post.header(IDEMPOTENCY_HEADER, Uuid::new_v4().to_string());
        }
        if let Some(seq) = sender.newest_seq {
            post = post.header(SEQ_HEADER, seq);
        }
        if let Some(drift) = &sender.drift {
            let names: Vec<&str> = drift.iter().map(|c| c.as_str()).collect();
            post = post.header(DRIFT_HEADER, names.join(","));
        }
        if let Some((name, value)) = request.header() {
            post = post.header(name, value);
        }
        self.send_proven(&http, post).await
    }

    /// Asks what a license key grants.
    pub async fn preview(&self, installation_id: &str, request: &PreviewRequest) -> Reply {
        let http = self.client().await;
        let post = http
            .post(self.url(PREVIEW))
            .header(INSTALLATION_ID_HEADER, installation_id)
            .header(ENTITLEMENTS_HEADER, "1")
            .json(request);
        self.send(&http, post).await
    }

    /// Requests the signed key sets after version `after`.
    pub async fn key_sets(&self, after: u64) -> Reply {
        let url = self.url(&format!("{KEYS}?after={after}"));
        let http = self.client().await;
        self.send(&http, http.get(url)).await
    }

    /// It may contain a password: never log it.
    fn url(&self, path: &str) -> String {
        let base = self.base_url.expose().as_str().trim_end_matches('/');
        format!("{base}{path}")
    }

    async fn send(&self, http: &reqwest::Client, request: RequestBuilder) -> Reply {
        match request.send().await {
            Ok(answer) => self.reply(answer).await,
            Err(error) => self.not_sent(http, &error).await,
        }
    }

    /// The same for a call with a proof, which may not be accepted.
    async fn send_proven(&self, http: &reqwest::Client, request: RequestBuilder) -> Asked {
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Asked::Answered(self.not_sent(http, &error).await),
        };
        if !asks_for_proof(answer.status(), answer.headers()) {
            return Asked::Answered(self.reply(answer).await);
        }
        let newest = answer.headers().get(SEQ_HEADER);
        match newest.and_then(|it| it.to_str().ok()?.parse().ok()) {
            Some(newest) => Asked::ProofOutdated { newest },
            None => Asked::Answered(Reply::Unproven),
        }
    }

    async fn reply(&self, answer: reqwest::Response) -> Reply {
        match self.read(answer).await {
            Ok((status, body, retry_after)) => Reply::of(status, body, retry_after),
            Err(failure) => Reply::Failure(failure),
        }
    }

    /// The reply in place of that of the License Server: if a proxy refuses to connect, its own.
    async fn not_sent(&self, http: &reqwest::Client, error: &reqwest::Error) -> Reply {
        let url = self.base_url.expose();
        let Some(tunnel) = TunnelAnswer::ask(http, &self.proxies, url, error).await else {
            return Reply::Failure(self.failure(error));
        };
        if let Some(demanded) = tunnel.sign_in() {
            return Reply::Failure(sign_in_failure(demanded));
        }
        let detail = format!("{}; {}", tunnel.what(), tunnel.advice());
        Reply::Failure(TransportFailure::Unreachable { detail })
    }

    async fn read(
        &self,
        mut answer: reqwest::Response,
    ) -> Result<(u16, Vec<u8>, Option<Duration>), TransportFailure> {
        let (url, headers) = (self.base_url.expose(), answer.headers());
        let demanded = ProxySignIn::demanded(&self.proxies, url, answer.status(), headers);
        if let Some(demanded) = &demanded {
            return Err(sign_in_failure(demanded));
        }
        let status = answer.status().as_u16();
        let retry_after = retry_after(answer.headers());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| self.failure(&e))? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                let limit = MAX_ANSWER_BYTES;
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
        self.renew();
        let cause = cause(error, self.base_url.expose());
        let detail = cause.text;
        match cause.kind {
            CauseKind::Certificate | CauseKind::Handshake => TransportFailure::Tls { detail },
            CauseKind::Head => TransportFailure::MalformedHead { detail },
            CauseKind::Connection => TransportFailure::Unreachable { detail },
        }
    }
}

/// What became of a call.
enum Asked {
    /// There is a reply.
    Answered(Reply),
    /// The License Server asks for a proof that names this number.
    ProofOutdated { newest: u64 },
}

/// Whether a response asks for another proof of the installation key than was sent, or for one.
fn asks_for_proof(status: StatusCode, headers: &HeaderMap) -> bool {
    let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
    let mut schemes = challenges.filter_map(|it| it.to_str().ok()?.split(' ').next());
    status == StatusCode::UNAUTHORIZED
        && schemes.any(|scheme| scheme.eq_ignore_ascii_case(PROOF_SCHEME))
}

impl Sender {
    /// The proof of a call; `None` before the installation has a key.
    fn proof(&self, url: &str, body: &[u8], nonce: &str, challenge: Option<u64>) -> Option<String> {
        let prover = self.prover.as_ref()?;
        let statement = Statement {
            at_address: CallAddress::Http {
                method: "POST",
                url,
            },
            body,
            nonce,
            seq: self.newest_seq,
            document: prover.document.as_deref(),
            challenge,
            at: prover.at,
        };
        Some(create(&prover.key, &statement))
    }
}

fn sign_in_failure(demanded: &ProxySignIn) -> TransportFailure {
    let detail = format!("{}; {}", demanded.what(), demanded.advice());
    TransportFailure::ProxySignIn { detail }
}

/// How long a response asks to wait (RFC 9110, section 10.2.3): seconds, or an instant, which is
/// compared with the response's own date, not with our clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let instant = |text: &str| DateTime::parse_from_rfc2822(text).ok();
    let asked = text(RETRY_AFTER)?;
    if asked.bytes().all(|byte| byte.is_ascii_digit()) && !asked.is_empty() {
        // A number that overflows is longer than any wait.
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
    fn a_file_of_certificates_has_at_least_one() {
        let begun = "-----BEGIN CERTIFICATE-----\nYQ==\n";
        let junk = "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n";
        for pem in ["", "hello", "/etc/ssl/certs\n", begun, junk] {
            assert!(certificates(pem.as_bytes()).is_err(), "{pem}");
        }
        let none = certificates(b"hello").unwrap_err();
        assert!(none.to_string().contains("no PEM certificate"), "{none}");
        let archive = certificates(b"PK\x03\x04").unwrap_err().to_string();
        assert!(archive.contains("a ZIP archive"), "{archive}");
    }
}
