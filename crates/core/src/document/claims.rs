//! What signed documents say.

use chrono::serde::ts_seconds;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::Call;
use crate::thumbprint::Thumbprint;

/// The payload of a signed license. Instants are whole seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LicenseClaims {
    /// The issuer.
    pub iss: String,
    /// License id.
    pub sub: String,
    /// Id of this document.
    pub jti: String,
    /// When it was signed.
    #[serde(with = "ts_seconds")]
    pub iat: DateTime<Utc>,
    /// Not before; equal to `iat`.
    #[serde(with = "ts_seconds")]
    pub nbf: DateTime<Utc>,
    /// End of grace: the document is not valid after this instant.
    #[serde(with = "ts_seconds")]
    pub exp: DateTime<Utc>,
    /// When the next validation is due.
    #[serde(with = "ts_seconds")]
    pub valid_until: DateTime<Utc>,
    /// Higher than in any earlier document for this license and installation.
    pub seq: u64,
    /// The request's `X-License-Nonce`, absent if the request had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The call that the document answers; `None` from servers that do not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Call>,
    /// The installation that made the call.
    pub installation_id: String,
    /// The machine that holds the seat.
    pub hardware_id: String,
    /// The [`fingerprint`](crate::license_key::fingerprint) of the add-on key or the trial code in
    /// the call, or of nothing for a trial without a code; `None` if the call has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_hash: Option<String>,
    /// An air-gapped lease: valid until `validUntil` without contact.
    #[serde(default, skip_serializing_if = "is_false")]
    pub offline: bool,
    /// Version of the License Server's newest key set, so that a client knows when it is
    /// behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_set: Option<u64>,
    /// The installation key that is bound to the seat; `None` if none is, and in documents of older
    /// servers. A lease is valid at a site with another key, too: only the License Server asks for
    /// proofs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<KeyConfirmation>,
    /// The whole license object.
    pub license: Map<String, Value>,
}

impl LicenseClaims {
    /// The installation key that is bound to the seat.
    #[must_use]
    pub fn bound_key(&self) -> Option<Thumbprint> {
        self.cnf?.jkt
    }
}

/// How the holder of a document proves that it is the holder (RFC 7800, section 3.1). Methods
/// other than ours are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyConfirmation {
    /// With the key of this thumbprint (RFC 9449, section 6.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jkt: Option<Thumbprint>,
}

/// The payload of a signed denial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DenialClaims {
    /// The issuer.
    pub iss: String,
    /// License id; empty if the license is unknown.
    pub sub: String,
    /// When it was signed.
    #[serde(with = "ts_seconds")]
    pub iat: DateTime<Utc>,
    /// As in [`LicenseClaims::seq`].
    pub seq: u64,
    /// As in [`LicenseClaims::nonce`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// As in [`LicenseClaims::question`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Call>,
    /// The installation that made the call.
    pub installation_id: String,
    /// The machine that made the call.
    pub hardware_id: String,
    /// As in [`LicenseClaims::key_set`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_set: Option<u64>,
    /// The [`fingerprint`](crate::license_key::fingerprint) of the key in the call;
    /// `None` from servers that do not include it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_key_hash: Option<String>,
    /// As in [`LicenseClaims::code_hash`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_hash: Option<String>,
    /// In the receipt of an add-on key, the number of the amendment that it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amendment: Option<u32>,
    /// The reason.
    pub reason: DenialReason,
    /// The reason for the operator, and what to do.
    pub message: String,
}

/// The payload of a document about a release of the product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseClaims {
    /// The issuer.
    pub iss: String,
    /// When it was signed.
    #[serde(with = "ts_seconds")]
    pub iat: DateTime<Utc>,
    /// The product: [`crate::release::PRODUCT`].
    pub product: String,
    /// The version of the release.
    pub version: String,
    /// When it was released; not after `iat`.
    #[serde(with = "ts_seconds")]
    pub released: DateTime<Utc>,
    /// Whether every license covers it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exempt: bool,
}

/// Why the License Server denies the license.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenialReason {
    /// The vendor has revoked the license.
    Revoked,
    /// The vendor has suspended the license.
    Suspended,
    /// The license's `expiresAt` has passed.
    Expired,
    /// This machine does not hold a seat.
    HardwareMismatch,
    /// All seats are taken by other machines.
    SeatLimit,
    /// The license does not exist.
    UnknownLicense,
    /// The site has deactivated the license: the receipt of an air-gapped
    /// deactivation.
    Deactivated,
    /// What was entered as a license key is an add-on key, or an add-on key has no license to add
    /// to.
    AddOnKey,
    /// What was entered as a license key is a trial code.
    TrialCode,
    /// No add-on key is like this.
    UnknownAddOn,
    /// The add-on key was redeemed on another license.
    AddOnElsewhere,
    /// The vendor has refunded the add-on key.
    AddOnRefunded,
    /// The license cannot have what the add-on key grants: its time is over, or the license is
    /// full.
    AddOnNotPossible,
    /// The add-on key was redeemed: the receipt.
    Redeemed,
    /// No trial code is like this, or trials are not started without one.
    UnknownTrialCode,
    /// The trial code starts no more trials.
    TrialCodeUsedUp,
    /// No more trials are started today.
    TrialsOfTheDay,
    /// The installation has started its trial on another machine, or another site has.
    TrialElsewhere,
    /// The license of the trial is no longer a trial, or its seat was given back or freed.
    TrialConverted,
    /// The activation does not prove the installation key of the seat ([`crate::binding`]), or the
    /// license requires a proof.
    Unproven,
    /// A reason of a later License Server that this version does not know. A signed denial
    /// is still a denial.
    #[serde(untagged)]
    Other(Box<str>),
}

impl DenialReason {
    /// The reason in the protocol.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Revoked => "revoked",
            Self::Suspended => "suspended",
            Self::Expired => "expired",
            Self::HardwareMismatch => "hardware_mismatch",
            Self::SeatLimit => "seat_limit",
            Self::UnknownLicense => "unknown_license",
            Self::Deactivated => "deactivated",
            Self::AddOnKey => "add_on_key",
            Self::TrialCode => "trial_code",
            Self::UnknownAddOn => "unknown_add_on",
            Self::AddOnElsewhere => "add_on_elsewhere",
            Self::AddOnRefunded => "add_on_refunded",
            Self::AddOnNotPossible => "add_on_not_possible",
            Self::Redeemed => "redeemed",
            Self::UnknownTrialCode => "unknown_trial_code",
            Self::TrialCodeUsedUp => "trial_code_used_up",
            Self::TrialsOfTheDay => "trials_of_the_day",
            Self::TrialElsewhere => "trial_elsewhere",
            Self::TrialConverted => "trial_converted",
            Self::Unproven => "unproven",
            Self::Other(text) => text,
        }
    }
}

/// The members of every payload.
pub(crate) trait Claims: DeserializeOwned {
    /// When it was signed.
    fn iat(&self) -> DateTime<Utc>;
}

impl Claims for LicenseClaims {
    fn iat(&self) -> DateTime<Utc> {
        self.iat
    }
}

impl Claims for ReleaseClaims {
    fn iat(&self) -> DateTime<Utc> {
        self.iat
    }
}

impl Claims for DenialClaims {
    fn iat(&self) -> DateTime<Utc> {
        self.iat
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "signature required by serde"
)]
fn is_false(value: &bool) -> bool {
    !value
}
