//! Licensing by file.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use license_core::offline::Purpose;
use license_service::unattended::finish_even_if_disconnected;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::app::App;
use crate::http::activation::{LICENSE_KEY, read_key};
use crate::http::body::field::{Choice, Text, body, object, one_of};
use crate::http::body::{Import, JsonObject};
use crate::http::error::{ApiError, BodyErrors, ChangeErrors, ErrorResponse};
use crate::http::redeem::ADD_ON_KEY;
use crate::http::trial::TRIAL_CODE;
use crate::licensing;
use crate::licensing::offline::Outcome;

const PURPOSE: Choice<Purpose> = Choice::new(
    "purpose",
    "Purpose of the request; 'deactivate' deactivates the license immediately",
    &Purpose::ALL,
    Purpose::as_str,
);

body!(OfflineRequestRequest, {
    let activate = PURPOSE.only(&[Purpose::Activate]);
    let redeem = PURPOSE.only(&[Purpose::Redeem]);
    let trial = PURPOSE.only(&[Purpose::Trial]);
    let others = PURPOSE.only(&[Purpose::Renew, Purpose::Deactivate]);
    one_of([
        object("A request to activate", &[&activate, &LICENSE_KEY]),
        object("A request to redeem an add-on key", &[&redeem, &ADD_ON_KEY]),
        object("A request for a trial", &[&trial, &TRIAL_CODE]),
        object("Any other request", &[&others]),
    ])
});

/// A request file.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfflineRequestResponse {
    /// The suggested file name.
    file_name: String,
    /// The text of the file.
    file: String,
}

/// Write Offline Request
///
/// Creates a request file for a site without internet. The vendor answers it with a license file.
#[utoipa::path(
    post,
    path = "/api/license/offline/request",
    request_body = OfflineRequestRequest,
    responses(
        (status = 200, description = "The file", body = OfflineRequestResponse),
        (status = 400, description = "The key or code is not valid for this \
            purpose", body = ErrorResponse),
        (status = 409, description = "No license is active, a trial would replace the active license, or no keys are trusted", body = ErrorResponse),
        (status = 503, description = "The database is unavailable", body = ErrorResponse),
        ChangeErrors,
        BodyErrors,
    )
)]
pub(super) async fn request(
    State(app): State<Arc<App>>,
    mut body: JsonObject,
) -> Result<Json<OfflineRequestResponse>, ApiError> {
    let purpose = body.read(&PURPOSE)?;
    let key = match purpose {
        Purpose::Activate => Some(read_key(&mut body)?),
        Purpose::Redeem => Some(body.read(&ADD_ON_KEY)?),
        Purpose::Trial => body.read(&TRIAL_CODE)?,
        Purpose::Renew | Purpose::Deactivate => None,
    };
    let writing = finish_even_if_disconnected(async move {
        licensing::offline::request(&app, purpose, key).await
    });
    let written = writing.await??;
    Ok(Json(OfflineRequestResponse {
        file_name: format!("foxsight-{}-request.txt", purpose.as_str()),
        file: written.file,
    }))
}

const FILE: Text = Text::new("file", "The unmodified license file");

body!(
    OfflineImportRequest,
    object("The license file to import", &[&FILE])
);

/// The result.
#[derive(Serialize, ToSchema)]
pub(super) struct OfflineImportResponse {
    /// False if the vendor denied the request.
    success: bool,
    /// `licensed`, `denied` or `deactivated`.
    result: &'static str,
    /// The active license.
    license: Option<Map<String, Value>>,
    /// A human-readable message.
    message: String,
}

/// Import License File
///
/// Imports a license file: a lease, a denial, or the receipt of a deactivation. A file that fails
/// verification changes nothing.
#[utoipa::path(
    post,
    path = "/api/license/offline/import",
    request_body = OfflineImportRequest,
    responses(
        (status = 200, description = "Imported", body = OfflineImportResponse),
        (status = 400, description = "The file was not accepted; `detail` gives the reason", body = ErrorResponse),
        (status = 409, description = "No keys are trusted", body = ErrorResponse),
        (status = 503, description = "The database is unavailable", body = ErrorResponse),
        ChangeErrors,
        BodyErrors,
    )
)]
pub(super) async fn import(
    State(app): State<Arc<App>>,
    _: Import,
    mut body: JsonObject,
) -> Result<Json<OfflineImportResponse>, ApiError> {
    let file = body.read(&FILE)?;
    let importing =
        finish_even_if_disconnected(async move { licensing::offline::import(&app, &file).await });
    let nothing = |success, result, message: &str| OfflineImportResponse {
        success,
        result,
        license: None,
        message: message.to_owned(),
    };
    Ok(Json(match importing.await?? {
        Outcome::Licensed(license) => OfflineImportResponse {
            license: Some(license.data().clone()),
            ..nothing(true, "licensed", "License file imported successfully")
        },
        Outcome::Denied { message } => nothing(false, "denied", &message),
        Outcome::Deactivated => nothing(
            true,
            "deactivated",
            "The vendor confirms that the seat is free",
        ),
    }))
}
