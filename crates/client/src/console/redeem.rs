//! Redeems an add-on key.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use license_console::page::show;
use license_service::unattended::finish_even_if_disconnected;
use serde::Deserialize;

use super::frame::{Done, Frame};
use crate::app::App;
use crate::http::access::Caller;
use crate::http::error::ApiError;
use crate::licensing;

#[derive(Template)]
#[template(path = "redeem.html")]
struct Redeem {
    frame: Frame,
    /// Whether there is a license to add to.
    licensed: bool,
    key: String,
    error: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RedeemForm {
    #[serde(default)]
    key: String,
}

impl Redeem {
    fn new(app: &App, caller: Caller) -> Self {
        Self {
            frame: Frame::new("redeem", app, caller),
            licensed: app.snapshot().evidence.lease.is_some(),
            key: String::new(),
            error: None,
        }
    }
}

pub(super) async fn page(State(app): State<Arc<App>>, caller: Caller) -> Response {
    show(StatusCode::OK, &Redeem::new(&app, caller))
}

pub(super) async fn redeem(
    State(app): State<Arc<App>>,
    caller: Caller,
    Form(given): Form<RedeemForm>,
) -> Response {
    let (redeeming, key) = (app.clone(), given.key.clone());
    let redeemed =
        finish_even_if_disconnected(
            async move { licensing::redeem::redeem(&redeeming, &key).await },
        )
        .await;
    match redeemed
        .map_err(ApiError::from)
        .and_then(|redeemed| redeemed.map_err(ApiError::from))
    {
        Ok(redeemed) if redeemed.license.is_some() => Done::Redeemed.redirect(),
        Ok(_) => Done::RedeemedLater.redirect(),
        Err(error) => {
            let page = Redeem {
                key: given.key,
                error: Some(error.detail()),
                ..Redeem::new(&app, caller)
            };
            show(error.status(), &page)
        }
    }
}
