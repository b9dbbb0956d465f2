//! Licensing by file, in three steps.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use license_core::offline::{FileError, ImportError, Purpose};
use license_core::text_encoding::decode;
use license_service::unattended::finish_even_if_disconnected;
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use serde::Deserialize;

use super::activate::typed;
use license_console::page::show;

use super::frame::{Done, Frame};
use crate::app::App;
use crate::http::access::Caller;
use crate::http::body::Import;
use crate::http::error::ApiError;
use crate::licensing;
use crate::licensing::offline::Outcome;

#[derive(Template)]
#[template(path = "offline.html")]
struct Offline {
    frame: Frame,
    signed: bool,
    licensed: bool,
    key: String,
    add_on_key: String,
    trial_code: String,
    request: Option<RequestFile>,
    error: Option<String>,
}

struct RequestFile {
    name: String,
    text: String,
    base64: String,
    /// SVG; `None` if the file is too long for a QR code.
    qr: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RequestForm {
    purpose: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    add_on_key: String,
    #[serde(default)]
    trial_code: String,
}

impl Offline {
    fn new(app: &App, caller: Caller) -> Self {
        Self {
            frame: Frame::new("offline", app, caller),
            signed: app.keys.are_required(),
            licensed: app.snapshot().evidence.lease.is_some(),
            key: String::new(),
            add_on_key: String::new(),
            trial_code: String::new(),
            request: None,
            error: None,
        }
    }
}

pub(super) async fn page(State(app): State<Arc<App>>, caller: Caller) -> Response {
    show(StatusCode::OK, &Offline::new(&app, caller))
}

pub(super) async fn request(
    State(app): State<Arc<App>>,
    caller: Caller,
    Form(wanted): Form<RequestForm>,
) -> Response {
    let purpose = Purpose::parse(&wanted.purpose).unwrap_or(Purpose::Activate);
    let mut page = Offline::new(&app, caller);
    page.key.clone_from(&wanted.key);
    page.add_on_key.clone_from(&wanted.add_on_key);
    page.trial_code.clone_from(&wanted.trial_code);
    let key = match purpose {
        Purpose::Activate => Some(wanted.key),
        Purpose::Redeem => Some(wanted.add_on_key),
        Purpose::Trial => Some(wanted.trial_code),
        Purpose::Renew | Purpose::Deactivate => None,
    };
    let license_key = key.as_deref().filter(|_| purpose == Purpose::Activate);
    if let Some(Err(why)) = license_key.map(typed) {
        page.error = Some(why);
        return show(StatusCode::UNPROCESSABLE_ENTITY, &page);
    }
    let asking = app.clone();
    let writing = finish_even_if_disconnected(async move {
        licensing::offline::request(&asking, purpose, key).await
    });
    match writing
        .await
        .map_err(ApiError::from)
        .and_then(|it| it.map_err(ApiError::from))
    {
        Ok(written) => {
            let text = written.file;
            page.licensed = app.snapshot().evidence.lease.is_some();
            page.request = Some(RequestFile {
                name: format!("foxsight-{}-request.txt", purpose.as_str()),
                base64: STANDARD.encode(&text),
                qr: qr(&text),
                text,
            });
            show(StatusCode::OK, &page)
        }
        Err(error) => {
            page.error = Some(error.detail());
            show(error.status(), &page)
        }
    }
}

fn qr(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let mut renderer = code.render::<svg::Color<'_>>();
    let svg = renderer.min_dimensions(240, 240).build();
    // Inline SVG must not have an XML declaration.
    Some(
        svg.split_once("?>")
            .map_or(svg.clone(), |(_, svg)| svg.to_owned()),
    )
}

pub(super) async fn import(
    State(app): State<Arc<App>>,
    caller: Caller,
    _: Import,
    mut form: Multipart,
) -> Response {
    let mut file = Default::default();
    while let Ok(Some(field)) = form.next_field().await {
        if field.name() == Some("file") {
            file = field.bytes().await.unwrap_or_default();
        }
    }
    let importing = app.clone();
    let import = async move {
        let text = decode(&file)
            .map_err(FileError::from)
            .map_err(ImportError::from)?;
        licensing::offline::import(&importing, &text).await
    };
    let imported = finish_even_if_disconnected(import).await;
    match imported
        .map_err(ApiError::from)
        .and_then(|it| it.map_err(ApiError::from))
    {
        Ok(Outcome::Licensed(_)) => Done::Imported.redirect(),
        Ok(Outcome::Denied { .. }) => Done::Denied.redirect(),
        Ok(Outcome::Deactivated) => Done::GivenUp.redirect(),
        Err(error) => {
            let mut page = Offline::new(&app, caller);
            page.error = Some(error.detail());
            show(error.status(), &page)
        }
    }
}
