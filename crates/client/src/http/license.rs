//! Status and validation.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use license_core::amendment::UpdateRule;
use license_core::hardware::{Component, Verdict};
use license_core::lapse;
use license_core::last_change::LastChange;
use license_core::lease::Lease;
use license_core::license::{License, MovesLeft};
use license_core::standing::Standing;
use license_core::time_guard::MAX_UNREPORTED_LAG;
use license_service::unattended::finish_even_if_disconnected;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::app::App;
use crate::http::access::Caller;
use crate::http::error::{ApiError, ChangeErrors};
use crate::http::hardware::drift;
use crate::http::instant::naive;
use crate::http::json_answer::{json, json_bytes};
use crate::http::release::{InstalledRelease, update_rule};
use crate::http::upcoming::{MAX_UPCOMING, UpcomingChange};
use crate::knowledge::snapshot::Snapshot;
use crate::licensing;
use crate::licensing::due::due;

/// The message of a site that has no license.
pub(crate) const NO_LICENSE: &str = "No license activated";

/// The current license, its validity, and the reason if it has lapsed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LicenseStatusResponse {
    /// Whether a license is cached.
    has_license: bool,
    /// `no_license`, `invalid` if it has lapsed, or the license's own `status`.
    status: String,
    /// Masked for callers that may not make changes.
    license_key: Option<String>,
    /// To whom the license was sold; null for callers that may not make changes.
    customer: Option<String>,
    tier: Option<String>,
    /// When the license starts; null if any part of it is already in force.
    starts_at: Option<String>,
    expires_at: Option<String>,
    /// The whole days until `expiresAt`; null if the license has no end.
    days_left: Option<i64>,
    /// The last instant of the releases that the license covers; null if it covers all.
    updates_until: Option<String>,
    /// What happens with later releases: `warn` or `enforce`; null if the license covers all.
    updates: Option<&'static str>,
    /// The installed release, if there is a signed document for it.
    release: Option<InstalledRelease>,
    /// How often the seat may still move to another machine while the old machine's lease runs;
    /// null if the License Server has not said so.
    moves: Option<Moves>,
    /// Whether the License Server has bound this installation's key to the seat, so that no one else can
    /// free it; null without a signed license.
    installation_key_bound: Option<bool>,
    max_cameras: Option<i64>,
    max_users: Option<i64>,
    /// The limit of everything that is counted; null means unlimited.
    limits: BTreeMap<String, Option<u64>>,
    /// What is over its limit.
    over_limit: Vec<String>,
    /// What changed last in the license; null if nothing has changed since the activation.
    last_change: Option<LicenseChange>,
    /// What the license starts or stops granting next, in chronological order, at most 20.
    upcoming: Vec<UpcomingChange>,
    /// License fields with invalid values, such as an `expiresAt` that is not a time. They are
    /// treated as absent.
    unreadable_fields: Vec<&'static str>,
    in_grace_period: Option<bool>,
    /// UTC.
    grace_period_expires: Option<String>,
    /// The last confirmed activation or validation; UTC.
    last_validated: Option<String>,
    message: Option<String>,
    reason: Option<String>,
    /// `unlicensed`, `active`, `grace` or `lapsed`.
    standing: &'static str,
    /// `signed` if keys are trusted, or `adopted` in that case for an unsigned license from version
    /// 1.0.0; `unsigned` if unsigned responses from the License Server are accepted.
    trust: &'static str,
    /// End of the lease from an imported license file, valid without any contact; UTC.
    offline_until: Option<String>,
    /// How many seconds the wall clock is ahead of the effective time (negative: behind), if more
    /// than five minutes.
    clock_ahead_seconds: Option<i64>,
    /// Why the effective time cannot be stored for the next start; null if it can.
    time_trouble: Option<String>,
    /// When the next call to the License Server is due; UTC.
    next_validation: Option<String>,
    /// The latest unconfirmed validation since the last confirmed one.
    last_failure: Option<LastFailure>,
    /// `none`, `drifted` if this appears to be a different machine from the one on which the
    /// license was activated, `unknown` if there are too few components to compare.
    hardware_drift: &'static str,
    /// The hardware components that have changed.
    hardware_changed: Vec<&'static str>,
}

/// Moves of the seat.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Moves {
    /// The number of moves that are left.
    left: u32,
    /// The number of moves that are allowed in each period.
    of: u32,
    /// The length of the period in days.
    period_days: u32,
    /// A human-readable message.
    message: String,
}

impl From<MovesLeft> for Moves {
    fn from(moves: MovesLeft) -> Self {
        Self {
            left: moves.left,
            of: moves.of,
            period_days: moves.period_days,
            message: moves.to_string(),
        }
    }
}

/// A change of the license.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LicenseChange {
    /// When it took effect at this site; UTC.
    at: String,
    /// What is different since then: a feature, what is counted, `ends` for the end of the license,
    /// `customer`, `tier` or `updatesUntil`. At most 20.
    changes: Vec<ChangedItem>,
    /// The number of changes that are not listed.
    more: usize,
}

/// Something that is different.
#[derive(Serialize, ToSchema)]
struct ChangedItem {
    key: String,
    /// The previous value: true or false for a feature; a number or `unlimited` for what is
    /// counted; otherwise a string, or null.
    #[schema(value_type = Value)]
    before: Value,
    #[schema(value_type = Value)]
    after: Value,
    /// A human-readable message.
    message: String,
}

impl From<LastChange> for LicenseChange {
    fn from(change: LastChange) -> Self {
        let changes = change.changes.into_iter().map(|item| ChangedItem {
            message: item.to_string(),
            key: item.key,
            before: item.before,
            after: item.after,
        });
        Self {
            at: naive(change.at),
            changes: changes.collect(),
            more: change.more,
        }
    }
}

/// A validation that was not confirmed.
#[derive(Serialize, ToSchema)]
pub(super) struct LastFailure {
    /// UTC.
    at: String,
    /// A short code for programs.
    reason: String,
    /// What happened and what to do.
    message: String,
}

/// Get License Status
///
/// Answers from memory, without a call to the License Server.
#[utoipa::path(
    get,
    path = "/api/license/status",
    operation_id = "get_license_status_api_license_status_get",
    responses((status = 200, description = "The status", body = LicenseStatusResponse))
)]
pub(super) async fn status(State(app): State<Arc<App>>, caller: Caller) -> Response {
    json(status_json(&app, caller)).into_response()
}

/// The path of [`status`].
pub(super) const STATUS: &str = "/api/license/status";

/// A [`LicenseStatusResponse`].
pub(super) fn status_json(app: &App, caller: Caller) -> Bytes {
    let time = app.plausible_time();
    let now = time.latest();
    let next_validation = due(app, now).validation.map(naive);
    let snapshot = app.snapshot();
    let mut status = status_of(&snapshot, now);
    status.next_validation = next_validation;
    let usage = app.meter.usage(now);
    let over_limit = snapshot.over_limit(&usage, time).into_iter();
    status.over_limit = over_limit.map(str::to_owned).collect();
    let entitled = app.entitled.at(&snapshot, time);
    status
        .limits
        .clone_from(&entitled.announced.announcement.limits);
    status.starts_at = entitled.starts_at().map(naive);
    let last_change = entitled.last_change(caller.trusted);
    status.last_change = last_change.map(LicenseChange::from);
    let upcoming = entitled.upcoming().iter().take(MAX_UPCOMING);
    status.upcoming = upcoming.map(|it| UpcomingChange::of(it, now)).collect();
    if let Some(comparison) = app.knowledge.comparison() {
        status.hardware_drift = drift(comparison.verdict);
        status.hardware_changed = comparison.changed().map(Component::as_str).collect();
    }
    status.trust = match (app.keys.are_required(), &snapshot.evidence.lease) {
        (false, _) => "unsigned",
        (true, Some(Lease::Adopted(_) | Lease::Unsigned { .. })) => "adopted",
        (true, _) => "signed",
    };
    status.clock_ahead_seconds = app
        .time
        .wall_ahead()
        .filter(|ahead| ahead.abs() > MAX_UNREPORTED_LAG)
        .map(|ahead| ahead.num_seconds());
    status.time_trouble = app.time.trouble().map(|trouble| trouble.to_string());
    status.license_key = status.license_key.map(|key| caller.sees(&key));
    status.customer = status.customer.filter(|_| caller.trusted);
    if let Some(why) = unread(app, caller) {
        status.message = Some(why);
    }
    json_bytes(&status)
}

/// Why it is not known whether there is a license; `None` if it is known. The database's errors may
/// name hosts and users.
pub(crate) fn unread(app: &App, caller: Caller) -> Option<String> {
    let why = app.knowledge.unread_because()?;
    Some(match caller.trusted {
        true => format!("The license could not be read: {why}"),
        false => "The license could not be read, because the database is unavailable; see the \
                  service log"
            .to_owned(),
    })
}

fn status_of(snapshot: &Snapshot, now: DateTime<Utc>) -> LicenseStatusResponse {
    let evidence = &snapshot.evidence;
    let standing = snapshot.standing(now);
    let view = View::of(snapshot, &standing);
    let license = view.license;
    LicenseStatusResponse {
        has_license: evidence.lease.is_some(),
        status: match (&standing, license) {
            (Standing::Unlicensed, _) => "no_license".to_owned(),
            (_, Some(license)) => license.status().to_owned(),
            (_, None) => "invalid".to_owned(),
        },
        license_key: evidence
            .lease
            .as_ref()
            .map(|lease| lease.license_key().to_owned()),
        customer: license.and_then(License::customer).map(str::to_owned),
        tier: license.and_then(License::tier).map(str::to_owned),
        starts_at: None,
        expires_at: license
            .and_then(License::expires_at_text)
            .map(str::to_owned),
        days_left: license.and_then(|license| license.days_left(now)),
        updates_until: license
            .and_then(License::updates_until_text)
            .map(str::to_owned),
        updates: license.and_then(update_rule).map(UpdateRule::as_str),
        release: InstalledRelease::of(snapshot),
        moves: license.and_then(License::moves).map(Moves::from),
        installation_key_bound: evidence.document_names_key(),
        max_cameras: license.and_then(License::max_cameras),
        max_users: license.and_then(License::max_users),
        limits: BTreeMap::new(),
        over_limit: Vec::new(),
        last_change: None,
        upcoming: Vec::new(),
        unreadable_fields: snapshot.unreadable_fields().to_vec(),
        in_grace_period: Some(view.in_grace_period),
        grace_period_expires: view.grace_period_expires.map(naive),
        last_validated: license.and(evidence.confirmed_at).map(naive),
        message: match standing {
            Standing::Unlicensed => Some(NO_LICENSE.to_owned()),
            _ => view.message,
        },
        reason: match standing {
            Standing::Unlicensed => None,
            _ => view.reason,
        },
        standing: standing.as_str(),
        trust: "",
        offline_until: evidence
            .lease
            .as_ref()
            .filter(|lease| lease.is_offline())
            .map(|lease| naive(lease.valid_until())),
        clock_ahead_seconds: None,
        time_trouble: None,
        next_validation: None,
        last_failure: evidence.last_failure.as_ref().map(|failure| LastFailure {
            at: naive(failure.at()),
            reason: failure.reason().to_owned(),
            message: failure.message().to_owned(),
        }),
        hardware_drift: drift(Verdict::Unknown),
        hardware_changed: Vec::new(),
    }
}

/// Result of a validation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LicenseValidationResponse {
    /// Whether licensed features are available.
    valid: bool,
    /// The license, while it is valid.
    license: Option<Map<String, Value>>,
    in_grace_period: Option<bool>,
    /// Always null.
    valid_until: Option<String>,
    /// UTC.
    grace_period_expires: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    /// `unlicensed`, `active`, `grace` or `lapsed`.
    standing: &'static str,
}

/// Validate License
///
/// Validates the license with the License Server, and returns the resulting standing.
#[utoipa::path(
    post,
    path = "/api/license/validate",
    operation_id = "validate_license_api_license_validate_post",
    responses(
        (status = 200, description = "The standing after the validation", body = LicenseValidationResponse),
        ChangeErrors,
    )
)]
pub(super) async fn validate(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<LicenseValidationResponse>, ApiError> {
    let validating = app.clone();
    finish_even_if_disconnected(async move { licensing::validate::validate(&validating).await })
        .await?;
    let now = app.clock.now();
    let snapshot = app.snapshot();
    let standing = snapshot.standing(now);
    let view = View::of(&snapshot, &standing);
    Ok(Json(LicenseValidationResponse {
        valid: view.license.is_some(),
        license: view.license.map(|license| license.data().clone()),
        in_grace_period: Some(view.in_grace_period),
        valid_until: None,
        grace_period_expires: view.grace_period_expires.map(naive),
        reason: view.reason,
        message: view.message.or_else(|| unread(&app, caller)),
        standing: standing.as_str(),
    }))
}

/// The common part of both responses, for each standing.
struct View<'a> {
    license: Option<&'a License>,
    in_grace_period: bool,
    grace_period_expires: Option<DateTime<Utc>>,
    reason: Option<String>,
    message: Option<String>,
}

impl<'a> View<'a> {
    fn of(snapshot: &'a Snapshot, standing: &Standing) -> Self {
        let evidence = &snapshot.evidence;
        let license = evidence.lease.as_ref().map(Lease::license);
        let nothing = View {
            license: None,
            in_grace_period: false,
            grace_period_expires: None,
            reason: None,
            message: None,
        };
        match standing {
            Standing::Unlicensed => View {
                reason: Some("no_license".to_owned()),
                ..nothing
            },
            Standing::Active => View {
                license,
                in_grace_period: evidence.server_in_grace,
                ..nothing
            },
            Standing::Grace { until } => {
                // Without contact both are null, as in version 1.0.0; an unsigned denial gives its
                // reason.
                let denial = evidence
                    .last_failure
                    .as_ref()
                    .filter(|failure| failure.is_denial());
                View {
                    license,
                    in_grace_period: true,
                    grace_period_expires: Some(*until),
                    reason: denial.map(|denial| denial.reason().to_owned()),
                    message: denial.map(|denial| denial.message().to_owned()),
                }
            }
            Standing::Lapsed(why) => View {
                reason: Some(why.code().to_owned()),
                message: Some(lapse::shown::message(
                    why,
                    evidence.denial.as_ref(),
                    evidence
                        .lease
                        .as_ref()
                        .map(|lease| lease.license().expiry()),
                )),
                ..nothing
            },
        }
    }
}
