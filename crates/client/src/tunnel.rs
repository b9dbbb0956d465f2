//! Why a proxy does not connect this machine with an https address.
//!
//! The HTTP library asks the proxy for a tunnel (CONNECT, RFC 9110, section 9.3.6), and reports only
//! that there is none, without the status (`hyper-util` 0.1.21, `TunnelError`). So the proxy is
//! asked one more time, through the same client.

use reqwest::{Client, Method, StatusCode};
use url::Url;

use crate::proxy::sign_in::ProxySignIn;
use crate::proxy::{ProxySettings, Route, authority};

/// What the library's errors about tunnels start with. Its type is private.
const TUNNEL_ERROR: &str = "tunnel error: ";

/// What a proxy answers to the request for a tunnel, if the library cannot use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TunnelAnswer {
    /// The proxy's host and port.
    proxy: String,
    /// The host and the port of the address.
    server: String,
    status: StatusCode,
    /// If the proxy demands a sign-in.
    sign_in: Option<ProxySignIn>,
}

impl TunnelAnswer {
    /// Asks the proxy again, if a request to `url` with `client` has failed because there is no
    /// tunnel. `None` if it failed for another reason, or the proxy does not answer. It takes no
    /// longer than the timeout of the client.
    pub(crate) async fn ask(
        client: &Client,
        proxies: &ProxySettings,
        url: &Url,
        error: &reqwest::Error,
    ) -> Option<Self> {
        let Ok(Route::Through { proxy, .. }) = proxies.route(url) else {
            return None;
        };
        if !is_about_tunnel(error) {
            return None;
        }
        let server = authority(url)?;
        // For http addresses, the library sends the request itself to the proxy.
        let asked = client.request(Method::CONNECT, format!("http://{server}/"));
        let answer = asked.send().await.ok()?;
        let (status, headers) = (answer.status(), answer.headers());
        Some(Self {
            proxy: authority(proxy.expose())?,
            server,
            status,
            sign_in: ProxySignIn::demanded(proxies, url, status, headers),
        })
    }

    /// The sign-in that the proxy demands, if it does.
    pub(crate) fn sign_in(&self) -> Option<&ProxySignIn> {
        self.sign_in.as_ref()
    }

    /// What the proxy does.
    pub(crate) fn what(&self) -> String {
        if let Some(sign_in) = &self.sign_in {
            return sign_in.what();
        }
        let Self { proxy, status, .. } = self;
        let status = status.as_u16();
        match self.status {
            accepted if accepted.is_success() => format!(
                "the proxy {proxy} accepts the connection, but this program does not support the \
                 format of its response (HTTP {status})"
            ),
            _ => format!("the proxy {proxy} refuses the connection with HTTP {status}"),
        }
    }

    /// What to do.
    pub(crate) fn advice(&self) -> String {
        if let Some(sign_in) = &self.sign_in {
            return sign_in.advice();
        }
        let Self { server, .. } = self;
        match self.status {
            accepted if accepted.is_success() => format!(
                "configure the proxy to answer CONNECT with HTTP 200 and less than 8 KiB of \
                 headers, or list {server} in NO_PROXY if this machine can reach it directly"
            ),
            _ => format!(
                "allow CONNECT to {server} on the proxy, or list {server} in NO_PROXY if this \
                 machine can reach it directly"
            ),
        }
    }
}

/// The innermost cause decides: a connection to the proxy that fails has a cause of its own.
fn is_about_tunnel(error: &reqwest::Error) -> bool {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().starts_with(TUNNEL_ERROR)
}
