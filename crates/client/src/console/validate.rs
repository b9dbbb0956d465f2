//! "Check now": validates with the License Server.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use license_service::unattended::finish_even_if_disconnected;

use crate::app::App;
use crate::http::error::ApiError;
use crate::licensing;

/// The overview shows the result.
pub(super) async fn validate(State(app): State<Arc<App>>) -> Response {
    match finish_even_if_disconnected(async move { licensing::validate::validate(&app).await })
        .await
    {
        Ok(()) => Redirect::to("/").into_response(),
        Err(error) => ApiError::from(error).into_response(),
    }
}
