//! What is behind the gateway.

use std::net::SocketAddr;
use std::time::Duration;

use axum::response::IntoResponse as _;
use serde_json::{Value, json};

/// What is behind the gateway: it tells what has come through.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
}

impl Backend {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tell = async |request: axum::extract::Request| {
            let headers = request.headers().iter();
            let headers: serde_json::Map<String, Value> = headers
                .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or_default())))
                .collect();
            if request.uri().path().contains("/stream") {
                return stream().into_response();
            }
            let path = request.uri().to_string();
            // All of it, or a gateway that still sends it would see the connection end.
            let body = axum::body::to_bytes(request.into_body(), 16 << 20).await;
            let bytes = body.unwrap().len();
            axum::Json(json!({"path": path, "headers": headers, "bytes": bytes})).into_response()
        };
        let router = axum::Router::new().fallback(tell);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address }
    }
}

/// How many pieces a stream has, two a second: more than 15 s, after which
/// gateways may cut an answer.
pub(super) const PIECES: usize = 34;

/// A live view.
fn stream() -> axum::body::Body {
    let pieces = futures_util::stream::unfold(0, async |sent| {
        tokio::time::sleep(Duration::from_millis(500)).await;
        (sent < PIECES).then(|| (Ok::<_, std::io::Error>("frame "), sent + 1))
    });
    axum::body::Body::from_stream(pieces)
}
