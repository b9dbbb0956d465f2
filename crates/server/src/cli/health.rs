//! `license-server health`

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use license_console::escaped::{self, escaped};
use license_service::{exchange, loopback};
use serde_json::Value;

/// Timeout of the request and its response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Maximum size of the answer, in bytes: another program may listen where the service should.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct Health {
    /// Address of the service
    #[arg(long, env, default_value = "127.0.0.1", value_name = "ADDRESS")]
    host: IpAddr,

    /// Port of the service
    #[arg(long, env, default_value_t = 4000, value_name = "PORT")]
    port: u16,
}

pub(super) async fn run(command: &Health, json: bool) -> anyhow::Result<()> {
    let host = loopback::reachable(command.host, command.port);
    let address = SocketAddr::new(host, command.port);
    // No certificates: this is plain HTTP on this machine, and a minimal container image
    // has no certificate store.
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()?;
    let exchange = async move {
        let asked = client.get(format!("http://{address}/readyz")).send().await;
        let mut answer = asked?;
        let mut text = Vec::new();
        while text.len() <= MAX_ANSWER_BYTES
            && let Some(chunk) = answer.chunk().await?
        {
            text.extend_from_slice(&chunk);
        }
        Ok((answer.status(), text))
    };
    let answered = exchange::within(ANSWER_TIMEOUT, exchange).await;
    let (status, text) = answered.with_context(|| {
        format!("no License Server responds at {address}; start one with 'license-server serve'")
    })?;
    ensure!(
        text.len() <= MAX_ANSWER_BYTES,
        "the program at {address} is not a License Server: its response is too long"
    );
    let text = String::from_utf8_lossy(&text);
    ensure!(
        status.is_success(),
        "the License Server is not ready: {}",
        escaped(&text)
    );
    match json {
        true => println!("{}", escaped::json(&serde_json::from_str::<Value>(&text)?)?),
        false => println!("ready"),
    }
    Ok(())
}
