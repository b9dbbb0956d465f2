//! What sites send and get about keys that they do not have yet: add-on keys, trial codes, and
//! license keys that they might activate.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Refused, RefusedError};

/// Starts a trial.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct TrialRequest {
    /// The trial code as typed by the customer; missing for a trial without one.
    code: Option<String>,
    /// The random secret of the site, which it keeps; missing if it keeps none.
    secret: Option<String>,
    /// The machine that requests a seat.
    hardware_id: String,
    /// The installation that makes the call.
    installation_id: String,
    /// Its display name.
    installation_name: String,
    /// The version of the VMS.
    installation_version: String,
}

/// Asks what a license key grants.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct PreviewRequest {
    /// The key as typed by the customer.
    license_key: String,
    /// The machine that asks.
    hardware_id: String,
}

/// What a license key grants.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum PreviewAnswer {
    Previewed(Previewed),
    NotPreviewed(NotPreviewed),
}

/// The license, without a signature.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Previewed {
    /// Always true.
    success: bool,
    data: PreviewedData,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PreviewedData {
    /// Without `movesLeft`, `moves` and `movesPeriodDays`.
    #[schema(value_type = Object)]
    license: (),
}

/// Why the key cannot be used.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct NotPreviewed {
    /// Always false.
    success: bool,
    error: RefusedError,
}

/// Redeems an add-on key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct RedeemRequest {
    /// The activated key.
    license_key: String,
    /// The add-on key as typed by the customer.
    add_on_key: String,
    /// The machine that holds a seat of the license.
    hardware_id: String,
}

/// The answer to an add-on key.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum RedeemAnswer {
    Redeemed(Redeemed),
    Refused(Refused),
}

/// The license includes what the key grants.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Redeemed {
    /// Always true.
    success: bool,
    data: RedeemedData,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RedeemedData {
    /// Always true.
    redeemed: bool,
    /// The number of the amendment that the key became.
    amendment: u32,
    /// The signed receipt, a JWS.
    signature: String,
}
