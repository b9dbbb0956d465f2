//! Answers the request file of a site without internet.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Form};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use license_console::id::short;
use license_console::page::show;
use license_core::license_key::mask;
use license_core::offline::{FileError, OfflineRequest, Purpose};
use license_core::text_encoding::decode;
use serde::Deserialize;

use super::frame::{Confirmation, Fact, Frame};
use crate::app::App;
use crate::audit::Actor;
use crate::http::error::ApiError;
use crate::licensing::offline::{OfflineError, Signed, read, sign as sign_request};
use crate::licensing::site_answer::SiteAnswer;

#[derive(Template)]
#[template(path = "offline.html")]
struct OfflinePage {
    frame: Frame,
    /// The pasted text.
    text: String,
    answer: Option<LicenseFile>,
    error: Option<String>,
}

struct LicenseFile {
    /// Code of the kind of request.
    holds: &'static str,
    /// Why the request would be denied.
    message: String,
    text: String,
    base64: String,
}

pub(super) async fn page() -> Response {
    form(String::new(), None)
}

fn form(text: String, error: Option<&ApiError>) -> Response {
    let page = OfflinePage {
        frame: Frame::new("offline"),
        text,
        answer: None,
        error: error.map(ApiError::message),
    };
    show(error.map_or(StatusCode::OK, ApiError::status), &page)
}

/// Shows the content of a request before anything is done.
pub(super) async fn ask(mut given: Multipart) -> Response {
    let mut text = String::new();
    loop {
        let field = match given.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) => break,
            Err(error) => {
                let error = ApiError::Body(error.status(), error.body_text());
                return form(text, Some(&error));
            }
        };
        // Either a file or a pasted text.
        if let Ok(part) = field.bytes().await
            && !part.is_empty()
        {
            text = match decode(&part) {
                Ok(text) => text,
                Err(error) => {
                    let error = OfflineError::File(FileError::from(error));
                    return form(text, Some(&ApiError::from(error)));
                }
            };
        }
    }
    match read(&text) {
        Ok(file) => question(&file.request, text).ask("offline"),
        Err(error) => form(text, Some(&ApiError::from(error))),
    }
}

#[derive(Deserialize)]
pub(super) struct AnswerForm {
    request: String,
}

pub(super) async fn sign(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Form(given): Form<AnswerForm>,
) -> Response {
    let lease = app.terms.offline_days;
    let signed = match read(&given.request) {
        Ok(request) => sign_request(&app, request, lease, actor).await,
        Err(error) => Err(error),
    };
    match signed {
        Ok(signed) => {
            let page = OfflinePage {
                frame: Frame::new("offline"),
                text: String::new(),
                answer: Some(license_file(signed)),
                error: None,
            };
            show(StatusCode::OK, &page)
        }
        Err(error) => form(given.request, Some(&ApiError::from(error))),
    }
}

fn license_file(signed: Signed) -> LicenseFile {
    let (holds, message) = match signed.answer {
        SiteAnswer::License(_) => ("lease", String::new()),
        SiteAnswer::Deactivated { .. } | SiteAnswer::Redeemed { .. } => ("receipt", String::new()),
        SiteAnswer::Denied { message, .. } => ("denial", message),
    };
    LicenseFile {
        holds,
        message,
        base64: STANDARD.encode(&signed.file),
        text: signed.file,
    }
}

fn question(request: &OfflineRequest, text: String) -> Confirmation {
    let what = match request.purpose {
        Purpose::Activate => "sign-activate",
        Purpose::Renew => "sign-renew",
        Purpose::Deactivate => "sign-deactivate",
        Purpose::Redeem => "sign-redeem",
        Purpose::Trial => "sign-trial",
    };
    let add_on_key = request.add_on_key.as_deref().map(mask);
    let add_on_key = add_on_key.filter(|_| request.purpose == Purpose::Redeem);
    let key = match request.purpose {
        Purpose::Trial => Fact::new("trial-code", mask(&request.license_key)),
        _ => Fact::new("key", &request.license_key),
    };
    Confirmation {
        what,
        action: "/console/offline/sign".to_owned(),
        back: "/console/offline".to_owned(),
        facts: [key]
            .into_iter()
            .chain(add_on_key.map(|key| Fact::new("add-on", key)))
            .chain([
                Fact::new("installation", &request.installation_name),
                Fact::new("version", &request.installation_version),
                Fact::new("machine", short(&request.hardware_id)),
                Fact::new(
                    "written",
                    request.created_at.format("%Y-%m-%d %H:%M UTC").to_string(),
                ),
            ])
            .collect(),
        hidden: vec![("request", text)],
        is_destructive: request.purpose == Purpose::Deactivate,
        ..Confirmation::default()
    }
}
