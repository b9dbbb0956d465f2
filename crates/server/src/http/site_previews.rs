//! The question of a site what a license key grants.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use license_core::protocol::{Call, PreviewRequest};
use license_service::unattended::finish_even_if_disconnected;
use serde_json::json;

use crate::app::App;
use crate::http::access::ClientAddress;
use crate::http::answered_errors::{BodyErrors, SiteErrors};
use crate::http::error::ApiError;
use crate::http::licenses::{ReceivedBody, Reply, addressee, check, read};
use crate::http::site_messages::{self, PreviewAnswer};
use crate::licensing::admit::SiteCall;
use crate::licensing::site_preview::previewed;

/// Show what a license key grants, without taking a seat.
///
/// The response is not signed: it is only for display, before the key replaces another one.
#[utoipa::path(
    post, path = "/preview", operation_id = "preview", tag = "sites",
    request_body = site_messages::PreviewRequest,
    responses(
        (status = 200, description = "The license without a signature, or why it cannot be used",
            body = PreviewAnswer),
        BodyErrors, SiteErrors,
    )
)]
pub(super) async fn preview(
    State(app): State<Arc<App>>,
    address: ClientAddress,
    headers: HeaderMap,
    body: ReceivedBody,
) -> Reply {
    let request: PreviewRequest = read(body)?;
    addressee(&headers, &request.license_key, &request.hardware_id)?;
    check("licenseKey", &request.license_key)?;
    let answered = finish_even_if_disconnected(async move {
        let call = SiteCall {
            address: address.0,
            call: Call::Validate,
            license_key: &request.license_key,
            hardware_id: &request.hardware_id,
            add_on_key: None,
        };
        let _turn = call.admit(&app).await?;
        Ok::<_, ApiError>(previewed(&app, &request.license_key).await?)
    });
    Ok(Json(match answered.await?? {
        Ok(license) => json!({"success": true, "data": {"license": license}}),
        Err((code, message)) => {
            json!({"success": false, "error": {"code": code, "message": message}})
        }
    }))
}
