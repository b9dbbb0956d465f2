//! Keeps the input of a form whose session had ended: it passes through the sign-in pages in hidden
//! fields, and is submitted again by the user.
//!
//! It is never stored, never part of a URL, and never submitted without a click.

use askama::Template;
use axum::extract::{FromRequest as _, Multipart, Request};
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use license_console::page::show;
use license_core::text_encoding::decode;
use license_service::request_body::BodyLimits;

use super::frame::Frame;

/// Maximum number of fields of a form: the form of a license has a field for each checked feature and
/// for everything that is counted.
const MAX_FIELDS: usize = 256;
/// Prefix of the names of kept fields in the sign-in form.
const PREFIX: char = '_';
/// The only form that includes a file.
const WITH_FILE: &str = "/console/offline";

/// The fields of a form, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(pub(super) Vec<(String, String)>);

/// Shows the kept input, and submits it.
#[derive(Template)]
#[template(path = "resume.html")]
struct Resume<'a> {
    frame: Frame,
    action: &'a str,
    multipart: bool,
    kept: Kept,
}

impl Kept {
    /// The fields of a request that was not authorized. Empty if the body is longer than any caller
    /// may send, or if the request is not a form.
    pub(super) async fn of(request: Request) -> Self {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|it| it.to_str().ok()?.parse().ok());
        let fits = length.is_some_and(|it: usize| it <= BodyLimits::default().max_bytes);
        if *request.method() != Method::POST || !fits {
            return Self::default();
        }
        let fields = match request.uri().path() {
            WITH_FILE => with_file(request).await,
            _ => {
                let form = axum::Form::<Vec<(String, String)>>::from_request(request, &());
                form.await.map(|form| form.0).unwrap_or_default()
            }
        };
        Self::bounded(fields)
    }

    /// The kept fields in the sign-in form.
    pub(super) fn of_sign_in(fields: Vec<(String, String)>) -> Self {
        let kept = |(name, value): (String, String)| {
            let name = name.strip_prefix(PREFIX)?.to_owned();
            Some((name, value))
        };
        Self::bounded(fields.into_iter().filter_map(kept).collect())
    }

    fn bounded(fields: Vec<(String, String)>) -> Self {
        // A partial form would be worse than none.
        let fits = fields.len() <= MAX_FIELDS;
        Self(if fits { fields } else { Vec::new() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields under the names that they have in the sign-in form.
    pub(super) fn prefixed(&self) -> impl Iterator<Item = (String, &str)> {
        let fields = self.0.iter();
        fields.map(|(name, value)| (format!("{PREFIX}{name}"), value.as_str()))
    }

    /// Asks whether to submit the fields to `action`, after signing in.
    pub(super) fn resume(self, action: &str) -> Response {
        let page = Resume {
            frame: Frame::new("sign-in"),
            action,
            multipart: action == WITH_FILE,
            kept: self,
        };
        show(StatusCode::OK, &page)
    }

    /// The fields that are displayed before they are submitted.
    fn shown(&self) -> impl Iterator<Item = (String, &str)> {
        let is_filled = |field: &&(String, String)| !field.1.trim().is_empty();
        let fields = self.0.iter().filter(is_filled);
        fields.map(|(name, value)| (name.replace('_', " "), value.as_str()))
    }
}

/// The text of a form that may come with a file: of the file, if there is one.
async fn with_file(request: Request) -> Vec<(String, String)> {
    let mut text = String::new();
    if let Ok(mut parts) = Multipart::from_request(request, &()).await {
        while let Ok(Some(part)) = parts.next_field().await {
            let Ok(bytes) = part.bytes().await else {
                return Vec::new();
            };
            match decode(&bytes) {
                Ok(part) if !part.is_empty() => text = part,
                _ => {}
            }
        }
    }
    match text.is_empty() {
        true => Vec::new(),
        false => vec![("text".to_owned(), text)],
    }
}
