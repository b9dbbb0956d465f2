//! The OpenAPI document, and pages that display it. All of them are compiled in.

use axum::body::Bytes;
use axum::http::header;
use axum::{Router, middleware};
use license_console::page::reference;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// A handler with the document, serialized once.
pub(super) fn openapi_json(
    openapi: &OpenApi,
) -> impl Fn() -> Answer + Clone + Send + Sync + 'static {
    let text = openapi.to_json().unwrap_or_default();
    let bytes = Bytes::from(text);
    move || std::future::ready(([(header::CONTENT_TYPE, "application/json")], bytes.clone()))
}

type Answer = std::future::Ready<([(header::HeaderName, &'static str); 1], Bytes)>;

/// `/docs`.
pub(super) fn pages<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let pages: Router<S> = SwaggerUi::new("/docs")
        .config(Config::from("/openapi.json"))
        .into();
    pages.layer(middleware::map_response(reference))
}
