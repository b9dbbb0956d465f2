//! The messages between License Client and License Server.
//!
//! The three requests of version 1.0.0 keep their JSON bodies byte for byte; additions are
//! in headers. `docs/api.md` shows complete exchanges.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use crate::call::Call;
use crate::document::DenialReason;
use crate::usage::Usage;

/// Path of activation, below `LICENSE_API_URL`.
pub const ACTIVATE: &str = "/licenses/activate";
/// Path of validation.
pub const VALIDATE: &str = "/licenses/validate";
/// Path of the heartbeat.
pub const HEARTBEAT: &str = "/licenses/heartbeat";
/// Path of deactivation.
pub const DEACTIVATE: &str = "/licenses/deactivate";
/// Path of redeeming an add-on key.
pub const REDEEM: &str = "/licenses/redeem";
/// Path of starting a trial.
pub const TRIAL: &str = "/licenses/trial";
/// Path of asking what a license key grants.
pub const PREVIEW: &str = "/licenses/preview";
/// Path of air-gapped requests.
pub const OFFLINE: &str = "/licenses/offline";
/// Path of the public keys; `?after=N` adds the signed sets after version N.
pub const KEYS: &str = "/licenses/keys";

/// Header with the installation id.
pub const INSTALLATION_ID_HEADER: &str = "x-installation-id";
/// Header with 32 random bytes in base64url, which the answer must repeat.
pub const NONCE_HEADER: &str = "x-license-nonce";
/// Header that identifies a repeated call: see [`crate::idempotency`].
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";

/// Header with the highest sequence number known to the site. In a response that asks for a newer
/// proof ([`crate::binding::Refusal::Stale`]), the number that the next proof must name.
pub const SEQ_HEADER: &str = "x-license-seq";
/// Header with the proof that the installation's key made the call (RFC 9449, section 4.1; see
/// [`crate::proof`]). A call has at most one. License Servers that do not know about proofs
/// ignore it.
pub const PROOF_HEADER: &str = "dpop";
/// The scheme of the challenge in the `WWW-Authenticate` header of a response that asks for another
/// proof, or for one (RFC 9449, section 7.1).
pub const PROOF_SCHEME: &str = "DPoP";
/// The member of a request file with its proof, which is its last member (see
/// [`crate::offline::RequestFile`]). License Servers that do not know about proofs ignore it.
pub const PROOF_FIELD: &str = "proof";
/// Header with the names of the changed hardware components, if the machine may be
/// another one.
pub const DRIFT_HEADER: &str = "x-license-drift";
/// Header with `1` if the site knows entitlements: their starts and ends, and everything that is
/// counted.
pub const ENTITLEMENTS_HEADER: &str = "x-license-entitlements";

/// Header of a heartbeat with the usage that is known: see [`crate::usage::sent`].
pub const USAGE_HEADER: &str = "x-license-usage";

/// Body of an activation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivateRequest {
    /// The key as typed by the customer.
    pub license_key: String,
    /// The machine that requests a seat.
    pub hardware_id: String,
    /// The installation that makes the call.
    pub installation_id: String,
    /// Its display name.
    pub installation_name: String,
    /// The VMS's version.
    pub installation_version: String,
}

/// Body of a validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidateRequest {
    /// The activated key.
    pub license_key: String,
    /// The machine that holds the seat.
    pub hardware_id: String,
}

/// Body of the question what a license key grants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviewRequest {
    /// The key as typed by the customer.
    pub license_key: String,
    /// The machine that asks.
    pub hardware_id: String,
}

/// Body of a deactivation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeactivateRequest {
    /// The activated key.
    pub license_key: String,
    /// The machine that gives up its seat.
    pub hardware_id: String,
}

/// Body of starting a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialRequest {
    /// The trial code as typed by the customer; `None` for a trial without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The [secret](crate::trial_secret::TrialSecret) of the site; `None` from sites that keep none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The machine that requests a seat.
    pub hardware_id: String,
    /// The installation that makes the call.
    pub installation_id: String,
    /// Its display name.
    pub installation_name: String,
    /// The VMS's version.
    pub installation_version: String,
}

/// Body of redeeming an add-on key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedeemRequest {
    /// The activated key.
    pub license_key: String,
    /// The add-on key as typed by the customer.
    pub add_on_key: String,
    /// The machine that holds a seat of the license.
    pub hardware_id: String,
}

/// Body of a heartbeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatRequest {
    /// The activated key.
    pub license_key: String,
    /// The machine that holds the seat.
    pub hardware_id: String,
    /// The installation that reports.
    pub installation_id: String,
    /// Current usage; 0 where it is not known.
    pub usage_metrics: UsageMetrics,
    /// The platform.
    pub system_info: SystemInfo,
    /// The usage that is known, which is not in the body but in the [`USAGE_HEADER`].
    #[serde(skip)]
    pub usage: Usage,
}

/// The usage of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageMetrics {
    /// Cameras.
    pub cameras_in_use: u64,
    /// Users.
    pub users_active: u64,
    /// Recordings, in GB.
    pub storage_used_gb: u64,
}

/// The platform of a site. The names are those of version 1.0.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SystemInfo {
    /// `Linux`.
    pub os_platform: String,
    /// Kernel release.
    pub os_release: String,
    /// Kernel version.
    pub os_version: String,
    /// Logical processors.
    pub cpu_count: u64,
    /// Memory in GiB, two decimals.
    pub total_memory_gb: f64,
    /// Host name.
    pub hostname: String,
    /// Machine type, the output of `uname -m`.
    pub architecture: String,
}

/// A success of activation.
#[must_use]
pub fn activated(license: &Map<String, Value>) -> Value {
    json!({"success": true, "data": {"license": license}})
}

/// A success of validation.
#[must_use]
pub fn confirmed(license: &Map<String, Value>) -> Value {
    json!({"success": true, "data": {"isValid": true, "license": license, "gracePeriodActive": false}})
}

/// A denied validation or heartbeat.
#[must_use]
pub fn denied(reason: &DenialReason, message: &str, signature: Option<&str>) -> Value {
    json!({
        "success": true,
        "data": {"isValid": false, "reason": reason, "message": message, "signature": signature},
    })
}

/// A denied activation or deactivation.
#[must_use]
pub fn refused(reason: &DenialReason, message: &str, signature: Option<&str>) -> Value {
    json!({
        "success": false,
        "error": {"code": reason, "message": message},
        "data": {"signature": signature},
    })
}
