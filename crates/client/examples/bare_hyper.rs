//! The fastest service of the same shape without a framework: one thread, the request's JSON
//! borrowed, the response prepared. `cargo xtask bench` measures ours beside it.

use std::borrow::Cow;
use std::convert::Infallible;

use axum::body::Bytes;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check<'a> {
    #[serde(borrow)]
    feature_key: Cow<'a, str>,
}

const AVAILABLE: Bytes =
    Bytes::from_static(br#"{"featureKey":"module.live_view","available":true}"#);
const NOT_AVAILABLE: Bytes =
    Bytes::from_static(br#"{"featureKey":"module.analytics_advanced","available":false}"#);

async fn check(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await;
    let body = body.map(Collected::to_bytes).unwrap_or_default();
    let answer = serde_json::from_slice::<Check<'_>>(&body).map(|asked| {
        match asked.feature_key == "module.live_view" {
            true => AVAILABLE,
            false => NOT_AVAILABLE,
        }
    });
    let mut response = Response::new(Full::default());
    match answer {
        Ok(answer) => *response.body_mut() = Full::new(answer),
        Err(_) => *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY,
    }
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).unwrap_or("8001".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(check));
        tokio::spawn(connection);
    }
}
