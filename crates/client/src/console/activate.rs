//! Activation by key.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use license_core::license_key::{LicenseKey, MAX_KEY_CHARS, normalize};
use license_service::unattended::finish_even_if_disconnected;
use serde::Deserialize;

use license_console::page::show;

use super::frame::{Done, Frame};
use crate::app::App;
use crate::http::access::Caller;
use crate::http::error::ApiError;
use crate::licensing;

#[derive(Template)]
#[template(path = "activate.html")]
struct Activate {
    frame: Frame,
    key: String,
    error: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ActivateForm {
    #[serde(default)]
    key: String,
}

/// The license key that was typed or pasted.
///
/// # Errors
/// Why the text cannot be a license key.
pub(super) fn typed(text: &str) -> Result<String, String> {
    let key = normalize(text);
    if !key.is_empty() && key.chars().count() <= MAX_KEY_CHARS {
        return Ok(text.to_owned());
    }
    let why = LicenseKey::parse(text).err();
    let why = why.map(|error| error.to_string()).unwrap_or_default();
    Err(format!("This is not a license key: {why}."))
}

pub(super) async fn page(State(app): State<Arc<App>>, caller: Caller) -> Response {
    let page = Activate {
        frame: Frame::new("activate", &app, caller),
        key: String::new(),
        error: None,
    };
    show(StatusCode::OK, &page)
}

pub(super) async fn activate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Form(given): Form<ActivateForm>,
) -> Response {
    let refused = |status, error: String| {
        let page = Activate {
            frame: Frame::new("activate", &app, caller),
            key: given.key.clone(),
            error: Some(error),
        };
        show(status, &page)
    };
    let key = match typed(&given.key) {
        Ok(key) => key,
        Err(why) => return refused(StatusCode::UNPROCESSABLE_ENTITY, why),
    };
    let activating = app.clone();
    let activated = finish_even_if_disconnected(async move {
        licensing::activate::activate(&activating, &key).await
    })
    .await;
    match activated
        .map_err(ApiError::from)
        .and_then(|activated| activated.map_err(ApiError::from))
    {
        Ok(_) => Done::Activated.redirect(),
        Err(error) => refused(error.status(), error.detail()),
    }
}
