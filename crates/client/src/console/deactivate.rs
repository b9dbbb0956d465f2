//! Deactivates the license, after confirmation.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use license_service::unattended::finish_even_if_disconnected;
use serde::Deserialize;

use license_console::page::show;

use super::frame::{Done, Frame};
use crate::app::App;
use crate::http::access::Caller;
use crate::http::error::ApiError;
use crate::licensing;
use crate::licensing::deactivate::Seat;

#[derive(Template)]
#[template(path = "deactivate.html")]
struct Deactivate {
    frame: Frame,
    error: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct DeactivateForm {
    #[serde(default)]
    force: bool,
}

pub(super) async fn page(State(app): State<Arc<App>>, caller: Caller) -> Response {
    let frame = Frame::new("deactivate", &app, caller);
    show(StatusCode::OK, &Deactivate { frame, error: None })
}

pub(super) async fn deactivate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Form(wanted): Form<DeactivateForm>,
) -> Response {
    let deactivating = app.clone();
    let seat = finish_even_if_disconnected(async move {
        licensing::deactivate::deactivate(&deactivating, wanted.force).await
    });
    match seat
        .await
        .map_err(ApiError::from)
        .and_then(|seat| seat.map_err(ApiError::from))
    {
        Ok(Seat::Freed | Seat::NotHeld) => Done::Deactivated.redirect(),
        Ok(Seat::Unknown) => Done::DeactivatedHereOnly.redirect(),
        Err(error) => {
            let page = Deactivate {
                frame: Frame::new("deactivate", &app, caller),
                error: Some(error.detail()),
            };
            show(error.status(), &page)
        }
    }
}
