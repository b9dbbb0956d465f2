//! What sites send and get, as the `OpenAPI` document describes it. The messages themselves are
//! in `license_core::protocol`, which does not know about documents.
#![expect(
    dead_code,
    unused_qualifications,
    reason = "describes messages, which are made elsewhere; the macro writes the paths"
)]

mod new_keys;

pub(super) use new_keys::{
    PreviewAnswer, PreviewRequest, RedeemAnswer, RedeemRequest, TrialRequest,
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// Headers of a call about a license.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct SiteHeaders {
    /// The installation that makes the call. Without it, the `installationId` of the body is used.
    #[param(rename = "X-Installation-ID", inline, value_type = InstallationIdHeader, required = false)]
    installation_id: Option<String>,
    /// 32 random bytes in base64url, which the signed answer repeats.
    #[param(rename = "X-License-Nonce", inline, value_type = NonceHeader, required = false)]
    nonce: Option<String>,
    /// The highest sequence number that the site has received. Text that is not a whole number is
    /// ignored.
    #[param(rename = "X-License-Seq", nullable = false)]
    seq: Option<String>,
    /// The names of the changed hardware components, if this may be a different machine.
    #[param(rename = "X-License-Drift", nullable = false)]
    drift: Option<String>,
    /// The proof of the installation key, in the form of a `DPoP` proof (RFC 9449, section 4.2).
    #[param(rename = "DPoP", nullable = false)]
    proof: Option<String>,
    /// `1` if the site supports `entitlements`. Other values are ignored.
    #[param(rename = "X-License-Entitlements", nullable = false)]
    entitlements: Option<String>,
}

/// The header of a heartbeat.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct UsageHeader {
    /// The usage that is known, such as `cameras=12,users=?,storage_gb=800,anpr_lanes=4`, where `?` is
    /// unknown; it replaces `usageMetrics`. Entries that cannot be read are ignored. Without it,
    /// `usageMetrics` counts, unless all its numbers are 0: then the usage is unknown.
    #[param(rename = "X-License-Usage", nullable = false)]
    usage: Option<String>,
}

/// Maximum length of an id, name or key, in characters: the width of its column.
pub(super) const MAX_TEXT_CHARS: usize = 255;
/// Maximum length of a nonce, in characters; ours have 43.
pub(super) const MAX_NONCE_CHARS: usize = 128;

type InstallationIdHeader = HeaderText<MAX_TEXT_CHARS>;
type NonceHeader = HeaderText<MAX_NONCE_CHARS>;

/// A header of at most `MAX` characters.
struct HeaderText<const MAX: usize>;

impl<const MAX: usize> PartialSchema for HeaderText<MAX> {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        text.pattern(Some(r"^[\t -~]*$"))
            .max_length(Some(MAX))
            .into()
    }
}

impl<const MAX: usize> ToSchema for HeaderText<MAX> {}

/// Requests a seat for a machine.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActivateRequest {
    /// The key as typed by the customer.
    license_key: String,
    /// The machine that requests a seat.
    hardware_id: String,
    /// The installation that makes the call.
    installation_id: String,
    /// Its display name.
    installation_name: String,
    /// The version of the VMS.
    installation_version: String,
}

/// Asks whether a machine may keep using a license.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ValidateRequest {
    /// The activated key.
    license_key: String,
    /// The machine that holds the seat.
    hardware_id: String,
}

/// Reports the usage of a site.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HeartbeatRequest {
    /// The activated key.
    license_key: String,
    /// The machine that holds the seat.
    hardware_id: String,
    /// The installation that reports.
    installation_id: String,
    usage_metrics: UsageMetrics,
    system_info: SystemInfo,
}

/// The current usage of a site.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageMetrics {
    /// Cameras.
    cameras_in_use: u64,
    /// Users.
    users_active: u64,
    /// Recordings, in GB.
    storage_used_gb: u64,
}

/// The platform of a site.
#[derive(Serialize, ToSchema)]
pub(super) struct SystemInfo {
    /// `Linux`.
    os_platform: String,
    /// Kernel release.
    os_release: String,
    /// Kernel version.
    os_version: String,
    /// Logical processors.
    cpu_count: u64,
    /// Memory in GiB, two decimals.
    total_memory_gb: f64,
    /// Host name.
    hostname: String,
    /// Machine type, the output of `uname -m`.
    architecture: String,
}

/// Gives up the seat of a machine.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeactivateRequest {
    /// The activated key.
    license_key: String,
    /// The machine that gives up its seat.
    hardware_id: String,
}

/// A license as sent to sites.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SiteLicense {
    /// UUID.
    id: String,
    /// In canonical spelling.
    license_key: String,
    /// May be empty.
    customer: String,
    /// Name of the tier.
    tier: String,
    /// The plan with its version, such as `professional@1`.
    plan: String,
    /// The number of the newest amendment.
    amendment: u32,
    /// Always `active`: other licenses are denied.
    status: String,
    /// The last instant at which the license may be used; `null` if it never expires.
    expires_at: Option<DateTime<Utc>>,
    /// -1 is unlimited.
    max_cameras: i64,
    /// -1 is unlimited.
    max_users: i64,
    /// In GB; -1 is unlimited.
    max_storage_gb: i64,
    /// How many machines may use the license at the same time.
    seats: u32,
    /// Keys of the features in force.
    enabled_features: Vec<String>,
    /// What is granted, now and later: for sites that support entitlements, and where the other
    /// fields cannot express it.
    #[schema(nullable = false)]
    entitlements: Option<Vec<Entitlement>>,
    /// When the license was issued.
    issued_at: DateTime<Utc>,
    /// How many more times a seat may move to another machine before the old machine's lease has
    /// ended.
    moves_left: u32,
    /// How many such moves are allowed in each period.
    moves: u32,
    /// The length of that period in days.
    moves_period_days: u32,
    /// The last instant of the releases of the product that the license covers; absent if it covers
    /// all.
    #[schema(nullable = false)]
    updates_until: Option<DateTime<Utc>>,
    /// What happens with later releases: `warn` or `enforce`; absent if the license covers all.
    #[schema(nullable = false)]
    updates: Option<String>,
    /// The signed license, a JWS. Only this counts where the site has trusted keys. Absent in the
    /// answer to a heartbeat.
    #[schema(nullable = false)]
    signature: Option<String>,
}

/// An entitlement of a license. For what is counted, the entries in force are added up.
#[derive(Serialize, ToSchema)]
pub(super) struct Entitlement {
    /// The feature, or what is counted.
    key: String,
    /// How much; a whole number or `unlimited`. Absent for a feature.
    #[schema(value_type = Object, nullable = false)]
    quantity: Option<()>,
    /// The first instant; absent if it has begun.
    #[schema(nullable = false)]
    from: Option<DateTime<Utc>>,
    /// The last instant; absent if it ends with the license.
    #[schema(nullable = false)]
    until: Option<DateTime<Utc>>,
}

/// The answer to an activation.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ActivateAnswer {
    Activated(Activated),
    Refused(Refused),
}

/// The machine has a seat.
#[derive(Serialize, ToSchema)]
pub(super) struct Activated {
    /// Always true.
    success: bool,
    data: ActivatedData,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ActivatedData {
    license: Box<SiteLicense>,
}

/// The License Server refuses an activation or a deactivation.
#[derive(Serialize, ToSchema)]
pub(super) struct Refused {
    /// Always false.
    success: bool,
    error: RefusedError,
    data: RefusedData,
}

#[derive(Serialize, ToSchema)]
pub(super) struct RefusedError {
    /// The reason, such as `seat_limit`.
    code: String,
    /// A message for the operator of the site.
    message: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct RefusedData {
    /// The signed denial, a JWS.
    signature: String,
}

/// The answer to a validation or a heartbeat.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ValidateAnswer {
    Confirmed(Confirmed),
    Denied(Denied),
}

/// The machine may keep using the license.
#[derive(Serialize, ToSchema)]
pub(super) struct Confirmed {
    /// Always true.
    success: bool,
    data: ConfirmedData,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConfirmedData {
    /// Always true.
    is_valid: bool,
    license: Box<SiteLicense>,
    /// Always false; version 1.0.0 of the client reads it.
    grace_period_active: bool,
}

/// The machine may not use the license.
#[derive(Serialize, ToSchema)]
pub(super) struct Denied {
    /// Always true: the request was answered.
    success: bool,
    data: DeniedData,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeniedData {
    /// Always false.
    is_valid: bool,
    /// The reason, such as `revoked`.
    reason: String,
    /// A message for the operator of the site.
    message: String,
    /// The signed denial, a JWS.
    signature: String,
}

/// The answer to a deactivation.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum DeactivateAnswer {
    Deactivated(Deactivated),
    Refused(Refused),
}

/// The seat is free.
#[derive(Serialize, ToSchema)]
pub(super) struct Deactivated {
    /// Always true.
    success: bool,
    data: DeactivatedData,
}

#[derive(Serialize, ToSchema)]
pub(super) struct DeactivatedData {
    /// Always true.
    deactivated: bool,
    /// The signed receipt, a JWS.
    signature: String,
}

/// A request file of a site without internet.
#[derive(Serialize, ToSchema)]
pub(super) struct OfflineRequest {
    /// The unmodified file.
    request: String,
}

/// The answer to a request file.
#[derive(Serialize, ToSchema)]
pub(super) struct OfflineAnswer {
    /// Always true.
    success: bool,
    data: OfflineData,
}

#[derive(Serialize, ToSchema)]
pub(super) struct OfflineData {
    /// Whether the license file contains a lease or a receipt rather than a denial.
    granted: bool,
    /// A message for the operator of the site.
    message: String,
    /// The license file.
    file: String,
}

/// The public keys that documents are signed with.
#[derive(Serialize, ToSchema)]
pub(super) struct KeySet {
    /// The keys, newest first, as JSON Web Keys.
    #[schema(value_type = Vec<Object>)]
    keys: Vec<()>,
    /// Version of the newest set.
    version: u64,
    /// Ids of keys that must never be trusted again; absent if there are none.
    #[schema(nullable = false)]
    revoked: Option<Vec<String>>,
    /// With `after`: signed key sets that lead from that version to the newest one, oldest first.
    /// If the last one is older than `version`, ask again from there.
    #[schema(nullable = false)]
    chain: Option<Vec<String>>,
}
