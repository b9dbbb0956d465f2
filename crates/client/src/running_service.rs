//! The client of a running service, for commands.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use license_console::escaped::{self, escape_texts};
use license_core::foreign_text;
use license_listening_users::{
    ListenerError, PACKAGED_STATE_DIR, first_trusted, sends_secret, trusted_users, unread_owner,
};
use license_service::admin_token::AdminTokenSettings;
use license_service::ownership;
use license_service::presence::Unreadable;
use license_service::presentable_url::{SecretUrl, presentable_path};
use license_service::stdout;
use license_service::tls_explanation::tls_error;
use license_service::{exchange, loopback};
use reqwest::header::{HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use url::Url;

use crate::certificate_file::{self, certificates};
use crate::config::{Settings, http_url};
use crate::server_certificate::{explain, tls_config};
use crate::upstream::http_client;

/// Timeout of a request that the service answers without calling the License Server.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout of a request for which the service may call the License Server first.
const CALL_TIMEOUT: Duration = Duration::from_secs(90);

/// The service to call, and how to print the response.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServiceArgs {
    /// Address of the service; default is this machine at HOST and PORT
    #[arg(long, env = "LICENSE_CLIENT_URL", value_parser = http_url, value_name = "URL")]
    url: Option<SecretUrl>,

    /// Address that the service listens on
    #[arg(long, env, default_value = "127.0.0.1", value_name = "ADDRESS")]
    host: IpAddr,

    /// Port that the service listens on
    #[arg(long, env, default_value_t = 8000, value_name = "PORT")]
    port: u16,

    /// Token for changes from outside the trusted networks
    #[command(flatten)]
    admin_token: AdminTokenSettings,

    /// State directory of the service; a service run by the owner of this directory is trusted
    #[arg(long, env, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// File with certificates to trust in addition to the system's certificate authorities, for
    /// https addresses
    #[arg(long, env, value_name = "FILE")]
    license_ca_file: Option<PathBuf>,

    /// Print the service's response as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whether a request carries the token, a license key or a license file. Secrets in the address
/// are judged separately.
#[derive(Clone, Copy, Debug)]
enum Secrets {
    None,
    Some,
}

/// Maximum size of an answer, in bytes: another program may listen where the service should.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Whether the exchange failed because the other side responds to TLS with something else.
fn speaks_plain_http(error: &anyhow::Error) -> bool {
    use rustls::{Error, InvalidMessage};
    error.chain().filter_map(tls_error).any(|error| {
        let Error::InvalidMessage(message) = error else {
            return false;
        };
        *message == InvalidMessage::InvalidContentType
    })
}

/// A response from the service.
pub(crate) struct Answer {
    pub(crate) ok: bool,
    /// For people: texts are escaped.
    pub(crate) body: Value,
    /// As received.
    pub(crate) received: Value,
}

impl ServiceArgs {
    /// The service of these settings, or the one named by `--url`. `state_dir` is its directory if
    /// one is set.
    pub(crate) fn of(
        settings: &Settings,
        url: Option<SecretUrl>,
        state_dir: Option<PathBuf>,
    ) -> Self {
        Self {
            url,
            admin_token: settings.admin_token.clone(),
            license_ca_file: settings.license_ca_file.clone(),
            state_dir,
            ..Self::at(settings.host, settings.port)
        }
    }

    /// The service on this machine at an address of its settings.
    pub(crate) fn at(host: IpAddr, port: u16) -> Self {
        Self {
            url: None,
            host,
            port,
            admin_token: AdminTokenSettings::default(),
            state_dir: None,
            license_ca_file: None,
            json: false,
        }
    }

    /// A response that is not JSON.
    pub(crate) async fn get_text(&self, path: &str) -> anyhow::Result<String> {
        let (_, text) = self.request(Method::GET, path, None, Secrets::None).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// A request that anyone may make: no token is sent.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, None, Secrets::None).await
    }

    /// A request that only trusted callers may make, with the token.
    pub(crate) async fn get_trusted(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, None, Secrets::Some).await
    }

    /// A request that anyone may make, with a body: no token is sent.
    pub(crate) async fn ask(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, Some(body), Secrets::None)
            .await
    }

    /// What only trusted callers may ask, with the token.
    pub(crate) async fn ask_trusted(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, None, Secrets::Some).await
    }

    /// The same with a body.
    pub(crate) async fn ask_trusted_with(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, Some(body), Secrets::Some)
            .await
    }

    /// A change, with the token.
    pub(crate) async fn post(&self, path: &str, body: Option<Value>) -> anyhow::Result<Answer> {
        self.change(Method::POST, path, body).await
    }

    /// A change, with the token.
    pub(crate) async fn put(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.change(Method::PUT, path, Some(body)).await
    }

    async fn change(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Answer> {
        let answer = self.send(method, path, body, Secrets::Some).await?;
        if answer.ok {
            stdout::note_change(
                "the License Client has carried out the command; see 'license-client status'",
            );
        }
        Ok(answer)
    }

    /// Prints the unmodified response if JSON is requested; returns whether it did.
    pub(crate) fn print_json(&self, answer: &Answer) -> bool {
        if self.json {
            println!("{}", escaped::json(&answer.received).unwrap_or_default());
        }
        self.json
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        secrets: Secrets,
    ) -> anyhow::Result<Answer> {
        let (status, text) = self.request(method, path, body, secrets).await?;
        let ok = status.is_success();
        let Ok(received) = serde_json::from_slice::<Value>(&text) else {
            let hint = (status == StatusCode::BAD_REQUEST).then_some("; try https://");
            let (place, hint) = (self.presentable_url(), hint.unwrap_or_default());
            bail!("the program at {place} is not a License Client (HTTP {status}){hint}");
        };
        let mut body = received.clone();
        escape_texts(&mut body);
        Ok(Answer { ok, body, received })
    }

    /// Status and body of an answer.
    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        secrets: Secrets,
    ) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let base = self.base_url();
        let url = Url::parse(&base).context("the address of the service is not a URL")?;
        let proven = match secrets {
            Secrets::None if !sends_secret(&url) => None,
            _ => self.prove(&url).await?,
        };
        let limit = match method {
            Method::GET => READ_TIMEOUT,
            _ => CALL_TIMEOUT,
        };
        let client = self.client(&url, proven.as_ref())?;
        let mut request = client.request(method, format!("{base}{path}"));
        if let Secrets::Some = secrets
            && let Some(token) = self.admin_token.read()?
        {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let exchange = exchange::within(limit, async move {
            // The library's error would repeat the URL.
            send_and_read(request)
                .await
                .map_err(|error| error.without_url().into())
        });
        let answer = exchange.await;
        let (status, text, redirect) =
            answer.map_err(|error| self.explained_failure(error, &url))?;
        let place = self.presentable_url();
        if let Some(location) = redirect {
            bail!("{}", redirected(&url, path, &place, &location));
        }
        ensure!(
            text.len() <= MAX_ANSWER_BYTES,
            "the program at {place} is not a License Client: its response is too long"
        );
        Ok((status, text))
    }

    /// The HTTP client for the service, which is at this checked host and address.
    fn client(
        &self,
        url: &Url,
        proven: Option<&(String, SocketAddr)>,
    ) -> anyhow::Result<reqwest::Client> {
        // No proxy: the service is on this machine or the local network. No redirects: a POST would
        // arrive as a GET.
        let configure = || {
            let client = reqwest::Client::builder()
                .no_proxy()
                .redirect(Policy::none())
                .connect_timeout(Duration::from_secs(5));
            match proven {
                Some((host, address)) => client.resolve(host, *address),
                None => client,
            }
        };
        if url.scheme() != "https" {
            return Ok(http_client(configure)?);
        }
        let listed = match &self.license_ca_file {
            None => Vec::new(),
            Some(file) => {
                let read = certificate_file::read(file).with_context(|| {
                    let file = presentable_path(file);
                    format!("LICENSE_CA_FILE: the file '{file}' cannot be read")
                })?;
                certificates(&read).context("LICENSE_CA_FILE cannot be used")?
            }
        };
        let tls = tls_config(listed, None).context("LICENSE_CA_FILE cannot be used")?;
        Ok(configure().tls_backend_preconfigured(tls).build()?)
    }

    /// Why there is no answer from the service at `url`.
    fn explained_failure(&self, error: anyhow::Error, url: &Url) -> anyhow::Error {
        let place = self.presentable_url();
        if speaks_plain_http(&error) {
            return error.context(format!(
                "the program at {place} speaks HTTP, not TLS; write http:// in its address"
            ));
        }
        let mut of_tls = error.chain().filter_map(tls_error);
        let explained = of_tls.find_map(|error| explain(error, url, "LICENSE_CLIENT_URL"));
        match explained {
            Some(explained) => anyhow::anyhow!(
                "cannot establish a TLS connection to {place}: {}",
                explained.text
            ),
            None => error.context(format!(
                "no License Client responds at {place}; start it with 'license-client serve', or \
                 pass another address with --url"
            )),
        }
    }

    /// If secrets are sent to an address of this machine, checks which user listens there. Returns
    /// the checked host and address, for the connection.
    async fn prove(&self, url: &Url) -> anyhow::Result<Option<(String, SocketAddr)>> {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Ok(None);
        };
        let name = host.trim_matches(['[', ']']);
        let found = tokio::net::lookup_host((name, port)).await;
        // An unknown host is reported with the request.
        let found = found.into_iter().flatten();
        let user = rustix::process::geteuid().as_raw();
        let named = self.state_dir.as_deref();
        let named = named.filter(|directory| ownership::is_chosen_by(user, directory));
        let directories = named.into_iter().chain([Path::new(PACKAGED_STATE_DIR)]);
        let trusted = trusted_users(directories.clone());
        let address = first_trusted(found, &trusted).map_err(|error| match error {
            ListenerError::Foreign { address, user } => match unread_owner(directories) {
                Some((directory, unread)) => {
                    let unread = Unreadable::new(directory, &unread);
                    anyhow::anyhow!(
                        "a program run by the user with id {user} is listening on {address}, and \
                         it cannot be determined whether this program is the License Client, \
                         because the owner of {unread}. No secret was sent"
                    )
                }
                None => error.into(),
            },
            error => error.into(),
        })?;
        Ok(address.map(|address| (host.to_owned(), address)))
    }

    /// The service's displayable address.
    pub(crate) fn presentable_url(&self) -> String {
        match &self.url {
            Some(url) => url.to_string(),
            None => self.base_url(),
        }
    }

    /// It may contain a password: never show it.
    fn base_url(&self) -> String {
        if let Some(url) = &self.url {
            return url.expose().as_str().trim_end_matches('/').to_owned();
        }
        let host = loopback::reachable(self.host, self.port);
        format!("http://{}", SocketAddr::new(host, self.port))
    }
}

/// Status and body of an answer, and where it redirects to; a body that is too long ends after
/// [`MAX_ANSWER_BYTES`].
pub(crate) async fn send_and_read(
    request: RequestBuilder,
) -> reqwest::Result<(StatusCode, Vec<u8>, Option<String>)> {
    let mut answer = request.send().await?;
    let location = answer.headers().get(LOCATION).map(HeaderValue::as_bytes);
    let location = location.map(|it| String::from_utf8_lossy(it).into_owned());
    let redirect = location.filter(|_| answer.status().is_redirection());
    let mut body = Vec::new();
    while body.len() <= MAX_ANSWER_BYTES
        && let Some(chunk) = answer.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    Ok((answer.status(), body, redirect))
}

/// Says that the address of the service redirects, and to which address if that can be shown.
/// `path` is what was requested below the address.
fn redirected(url: &Url, path: &str, place: &str, location: &str) -> String {
    let target = url.join(location).ok();
    let target = target.and_then(|target| {
        let text = target.as_str();
        let base = text.strip_suffix(path).unwrap_or(text);
        SecretUrl::parse(base.trim_end_matches('/'), &["http", "https"]).ok()
    });
    // Another path of the same address is not shown either.
    let target = target.filter(|target| target.to_string() != place);
    match target {
        Some(target) => {
            let target = target.to_string();
            let target = foreign_text::message(target.trim_end_matches('/'));
            format!(
                "the address {place} redirects to {target}; use that address in \
                 LICENSE_CLIENT_URL, or with --url"
            )
        }
        None => format!(
            "the address {place} redirects to another address that cannot be shown; correct \
             LICENSE_CLIENT_URL"
        ),
    }
}

impl Answer {
    /// The unescaped text in a field, for a file; empty if it is missing.
    pub(crate) fn file(&self, field: &str) -> &str {
        self.received
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The text in a field, empty if it is missing.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.body
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(crate) fn flag(&self, field: &str) -> bool {
        self.body.get(field).and_then(Value::as_bool) == Some(true)
    }

    /// The service's error message.
    pub(crate) fn into_error(self) -> anyhow::Error {
        match self.body.get("detail") {
            Some(Value::String(detail)) => anyhow::anyhow!("{detail}"),
            Some(Value::Array(details)) => {
                let words: Vec<&str> = details.iter().filter_map(|it| it["msg"].as_str()).collect();
                anyhow::anyhow!("{}", words.join("; "))
            }
            Some(detail) => anyhow::anyhow!("{detail}"),
            None => anyhow::anyhow!("the service refused the command: {}", self.body),
        }
    }
}
