//! The fastest services of the same shape: one route, two fields, a comparison
//! of two texts; and a gate that is always open. `cargo xtask bench` measures
//! ours beside them.

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    feature_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    feature_key: String,
    available: bool,
}

async fn check(Json(request): Json<Request>) -> Json<Response> {
    Json(Response {
        available: request.feature_key == "module.live_view",
        feature_key: request.feature_key,
    })
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).unwrap_or("8001".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let router = Router::new()
        .route("/api/license/feature/check", post(check))
        .route("/gate", get(async || StatusCode::NO_CONTENT));
    axum::serve(listener, router).await
}
