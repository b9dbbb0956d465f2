//! Style, script and icon. They are compiled in and named by a hash of their content,
//! so that browsers can cache them.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

const ASSETS: [(&str, &str, &str); 3] = [
    (
        "console.css",
        "text/css",
        include_str!("../assets/console.css"),
    ),
    (
        "console.js",
        "text/javascript",
        include_str!("../assets/console.js"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("../assets/icon.svg"),
    ),
];

static HASH: LazyLock<String> = LazyLock::new(|| {
    let all = ASSETS.map(|(_, _, text)| text).concat();
    let hash = Sha256::digest(all);
    hash[..6].iter().map(|byte| format!("{byte:02x}")).collect()
});

/// The URL of an asset.
#[must_use]
pub fn url(name: &str) -> String {
    format!("/console/assets/{}/{name}", *HASH)
}

/// Answers `/console/assets/{hash}/{name}`.
#[expect(clippy::unused_async, reason = "handlers are async")]
pub async fn asset(Path((_, name)): Path<(String, String)>) -> Response {
    let Some((_, kind, text)) = ASSETS.iter().find(|(known, _, _)| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let kind = HeaderValue::from_static(kind);
    let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
    (
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, kept)],
        *text,
    )
        .into_response()
}
