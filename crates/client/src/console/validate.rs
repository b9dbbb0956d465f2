//! "Check now": validates with the License Server.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};

use crate::app::App;
use crate::http::to_the_end::to_the_end;
use crate::licensing;

/// The overview shows the result.
pub(super) async fn validate(State(app): State<Arc<App>>) -> Response {
    match to_the_end(async move { licensing::validate::validate(&app).await }).await {
        Ok(()) => Redirect::to("/").into_response(),
        Err(error) => error.into_response(),
    }
}
