//! Sends a heartbeat on request.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use license_core::response::{Contact, DENIED_MESSAGE};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::error::ChangeErrors;
use crate::licensing;

/// The result.
#[derive(Serialize, ToSchema)]
pub(super) struct HeartbeatResponse {
    /// Whether the License Server accepted it, or there was nothing to send.
    success: bool,
    /// A human-readable message.
    message: String,
}

/// Send Heartbeat
///
/// Reports to the License Server now. Heartbeats are sent on schedule anyway.
#[utoipa::path(
    post,
    path = "/api/license/heartbeat",
    operation_id = "send_heartbeat_api_license_heartbeat_post",
    responses(
        (status = 200, description = "Result of the heartbeat", body = HeartbeatResponse),
        ChangeErrors,
    )
)]
pub(super) async fn heartbeat(State(app): State<Arc<App>>) -> Json<HeartbeatResponse> {
    let (success, message) = match licensing::heartbeat::heartbeat(&app).await {
        // Version 1.0.0 returns the same when there is nothing to send.
        None | Some(Contact::Confirmed(_)) => (true, "Heartbeat sent".to_owned()),
        Some(Contact::Denied(denial)) => {
            let message = denial.message().unwrap_or(DENIED_MESSAGE);
            (false, message.to_owned())
        }
        Some(Contact::None(why)) => (false, why.to_string()),
    };
    Json(HeartbeatResponse { success, message })
}
