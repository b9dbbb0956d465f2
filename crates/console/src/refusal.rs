//! Error pages: browsers that request a page get an HTML page, programs get JSON. The API
//! always returns JSON.

use askama::Template;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::page::{guard, show};

/// The content of an error. A service adds it to the extensions of its response.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What failed, and what to do.
    pub detail: String,
    /// Whether the request seems to come from a page of another origin.
    pub is_cross_site: bool,
    /// The id of the request in the log.
    pub request_id: Option<String>,
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct RefusalPage {
    title: &'static str,
    detail: String,
    /// For a request that seems to come from a page of another origin.
    addresses: Option<Addresses>,
    request_id: Option<String>,
}

/// Where a request came from, as its headers say, and where it went.
struct Addresses {
    /// The origin of the page; `None` if the browser withholds it (`Origin: null`).
    origin: Option<String>,
    host: String,
}

/// Converts errors to pages for browsers, as a middleware around everything that can
/// return one.
pub async fn readable(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_api = path == "/api" || path.starts_with("/api/");
    let wants_page = !is_api && accepts_pages(request.headers());
    let addresses = wants_page.then(|| addresses(&request));
    let mut response = next.run(request).await;
    let (Some(addresses), Some(refusal)) =
        (addresses, response.extensions_mut().remove::<Refusal>())
    else {
        return response;
    };
    let page = RefusalPage {
        title: title(response.status()),
        detail: refusal.detail,
        addresses: Some(addresses).filter(|_| refusal.is_cross_site),
        request_id: refusal.request_id,
    };
    let mut shown = guard(show(response.status(), &page));
    // Keeps the other headers of the error: Retry-After, Allow, WWW-Authenticate.
    for (name, value) in response.headers() {
        if ![header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name) {
            shown.headers_mut().insert(name, value.clone());
        }
    }
    shown
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "Sign-in required",
        StatusCode::FORBIDDEN => "Request refused",
        StatusCode::NOT_FOUND => "Page not found",
        StatusCode::METHOD_NOT_ALLOWED => "Method not allowed",
        StatusCode::MISDIRECTED_REQUEST => "Unknown host name",
        StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
        StatusCode::SERVICE_UNAVAILABLE => "Service unavailable",
        _ => "Request failed",
    }
}

/// Browsers request HTML explicitly when they open a page or submit a form. Programs that
/// accept anything do not.
fn accepts_pages(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.to_ascii_lowercase().contains("text/html"))
}

fn addresses(request: &Request) -> Addresses {
    let text = |name: HeaderName| {
        let value = request.headers().get(name);
        let value = value.and_then(|value| value.to_str().ok());
        value.unwrap_or("an unknown address").to_owned()
    };
    Addresses {
        origin: Some(text(header::ORIGIN)).filter(|origin| origin != "null"),
        host: text(header::HOST),
    }
}
