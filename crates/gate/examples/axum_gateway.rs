//! A VMS gateway on axum that decides in the process.
//!
//! ```text
//! cargo run -p license-gate --example axum_gateway -- 8080 http://license-client:8010
//! ```

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use license_gate::{Gate, Limit, Resource};

/// What is behind the gate, and what each part needs.
pub fn router(gate: &Gate) -> Router {
    let page = || get(|| async { "behind the gate" });
    let limits = gate.clone();
    let cameras = move || async move {
        match limits.limit(Resource::Cameras) {
            Limit::AtMost(limit) => limit.to_string(),
            Limit::Unlimited => "unlimited".to_owned(),
            Limit::Unknown => "unknown".to_owned(),
        }
    };
    Router::new()
        .route("/map/{*rest}", page().layer(gate.layer("module.map_view")))
        .route(
            "/alarms/{*rest}",
            page().layer(gate.layer("module.alarm_advanced")),
        )
        .route("/nope/{*rest}", page().layer(gate.layer("module.nope")))
        .route(
            "/live/{*rest}",
            page().layer(gate.layer("module.live_view")),
        )
        .route("/limits/cameras", get(cameras))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, license_client] = arguments.as_slice() else {
        return Err("usage: axum_gateway PORT LICENSE_CLIENT_URL".into());
    };
    let gate = Gate::builder(license_client).start()?;
    if !gate.ready(Duration::from_secs(5)).await {
        eprintln!("the License Client is not there yet: core features alone are available");
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    axum::serve(listener, router(&gate)).await?;
    Ok(())
}
