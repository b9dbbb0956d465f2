//! A VMS gateway on axum that decides in the process.
//!
//! ```text
//! cargo run -p license-gate --example axum_gateway -- 8080 http://license-client:8010
//! ```

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use license_gate::{Gate, Limit, Resource};

const MAP_VIEW: &str = "module.map_view";

/// What is behind the gate, and what each part needs.
pub fn router(gate: &Gate) -> Router {
    let page = || get(|| async { "behind the gate" });
    Router::new()
        .route("/map/{*rest}", page().layer(gate.layer(MAP_VIEW)))
        .route("/map-stream", get(positions).layer(gate.layer(MAP_VIEW)))
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
        .with_state(gate.clone())
}

async fn cameras(State(gate): State<Gate>) -> String {
    match gate.limit(Resource::Cameras) {
        Limit::AtMost(limit) => limit.to_string(),
        Limit::Unlimited => "unlimited".to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// A stream that has begun ends when the feature is taken away.
async fn positions(State(gate): State<Gate>) -> impl IntoResponse {
    let positions = stream::repeat("a position\n").then(|position| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok::<_, Infallible>(position)
    });
    Body::from_stream(positions.take_until(gate.until_unavailable(MAP_VIEW)))
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
