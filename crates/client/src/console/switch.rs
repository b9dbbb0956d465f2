//! Switching a feature off or on for this site.

use std::sync::Arc;

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use license_service::unattended::finish_even_if_disconnected;
use serde::Deserialize;

use super::frame::Done;
use crate::app::App;
use crate::http::error::ApiError;
use crate::licensing;

#[derive(Deserialize)]
pub(super) struct SwitchForm {
    feature: String,
    on: bool,
}

pub(super) async fn switch(
    State(app): State<Arc<App>>,
    Form(wanted): Form<SwitchForm>,
) -> Response {
    let switching =
        async move { licensing::switch::switch(&app, &wanted.feature, wanted.on).await };
    match finish_even_if_disconnected(switching).await {
        Ok(Ok(())) => Done::Switched.redirect(),
        Ok(Err(error)) => ApiError::from(error).into_response(),
        Err(error) => ApiError::from(error).into_response(),
    }
}
