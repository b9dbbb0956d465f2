//! Is the port available, or used by the service?

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use license_service::listener::why_not;
use license_service::loopback;
use serde_json::Value;
use tokio::net::TcpListener;

use super::Finding;
use crate::config::Settings;
use crate::running_service::send_and_read;
use crate::upstream::http_client;

const WHAT: &str = "port";

pub(super) async fn check(settings: &Settings) -> Finding {
    let (host, port) = (settings.host, settings.port);
    match TcpListener::bind((host, port)).await {
        Ok(_) => Finding::ok(
            WHAT,
            format!("{host}:{port} is free; no service is running there"),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let answer = ask(host, port, "/health").await.unwrap_or_default();
            match answer["service"].as_str() {
                Some("license-client") => {
                    Finding::ok(WHAT, format!("the service is running on {host}:{port}"))
                }
                _ => Finding::error(
                    WHAT,
                    format!("another program is using {host}:{port}"),
                    "stop that program, or choose another port with PORT",
                ),
            }
        }
        Err(error) => Finding::error(
            WHAT,
            why_not("PORT", SocketAddr::new(host, port), &error),
            "correct HOST and PORT",
        ),
    }
}

/// Queries the program that listens on the port, without sending the token.
pub(super) async fn ask(host: IpAddr, port: u16, path: &str) -> Option<Value> {
    let host = loopback::reachable(host, port);
    let configure = || {
        reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(3))
    };
    let client = http_client(configure).ok()?;
    let url = format!("http://{}{path}", SocketAddr::new(host, port));
    let (_, body, _) = send_and_read(client.get(url)).await.ok()?;
    serde_json::from_slice(&body).ok()
}
