//! A key or code that was just issued: the page that shows it, the only time.
//!
//! It is generated with the review, so that confirming twice issues only one.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use license_console::page::show;
use license_core::issued_code::{CodeKind, IssuedCode};

use super::fields::Fields;
use super::frame::Frame;
use crate::http::error::ApiError;

/// The field of the review that carries it.
pub(super) const CODE: &str = "code";

#[derive(Template)]
#[template(path = "new_code.html")]
struct NewCodePage<'a> {
    frame: Frame,
    kind: CodeKind,
    code: &'a str,
}

/// The code of the review that is confirmed.
///
/// # Errors
/// If there is none.
pub(super) fn reviewed_code(kind: CodeKind, fields: &Fields) -> Result<IssuedCode, ApiError> {
    IssuedCode::parse(kind, fields.text(CODE)).map_err(|_| {
        let message = format!(
            "the {} was not reviewed; review it, then confirm",
            kind.name()
        );
        ApiError::BadRequest(message)
    })
}

/// Shows it.
pub(super) fn show_new_code(page: &'static str, code: &IssuedCode) -> Response {
    let page = NewCodePage {
        frame: Frame::new(page),
        kind: code.kind(),
        code: code.as_str(),
    };
    show(StatusCode::OK, &page)
}
