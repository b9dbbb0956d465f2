//! Metrics for Prometheus.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use license_core::hardware::{Component, Verdict};
use license_core::lease::Lease;
use license_core::license::{Expiry, License};
use license_core::release::{Coverage, coverage};
use license_service::exposition;
use license_service::jobs::Jobs;
use license_service::telemetry;

use crate::app::App;
use crate::http::HttpState;
use crate::http::error::ApiError;
use crate::knowledge::snapshot::Snapshot;
use crate::licensing::due::due;
use crate::metrics::Readings;
use crate::release_document::ReleaseDocument;

/// Maximum number of resources in the metrics: the first of [`Snapshot::counted`].
const MAX_COUNTED: usize = 128;

/// Metrics
///
/// In the `OpenMetrics` text format, or in Prometheus' text format 0.0.4 for
/// scrapers that prefer it. Missing values are absent, rather than 0.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "Metrics", content_type = "application/openmetrics-text"))
)]
pub(super) async fn metrics(
    State(state): State<HttpState>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut readings = readings(&state.app);
    read_connections(&state, &mut readings);
    read_process(&state, &mut readings);
    let text = state.app.metrics.text(&readings).map_err(|error| {
        tracing::error!(%error, "failed to write the metrics");
        ApiError::Internal
    })?;
    Ok(exposition::respond(&headers, text))
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
fn read_connections(state: &HttpState, readings: &mut Readings) {
    readings.number(
        "foxsight_license_connections",
        "Open connections",
        Some(state.connections.open() as f64),
    );
    readings.counted(
        "foxsight_license_connections_refused",
        "Connections refused or closed because of too many connections in total or from one \
         address, a lack of memory for a long request head, or a timeout",
        "reason",
        state.connections.refused(),
    );
    readings.number(
        "foxsight_license_request_body_bytes",
        "Bytes of request bodies held in memory, beyond the first 4 KiB of each",
        Some(state.bodies.budget().used() as f64),
    );
}

/// The counts of background activity.
fn read_process(state: &HttpState, readings: &mut Readings) {
    readings.counted(
        "foxsight_license_job_failures",
        Jobs::FAILURES_HELP,
        "task",
        state.jobs.failures(),
    );
    readings.count(
        "foxsight_license_log_lines_dropped",
        telemetry::DROPPED_LINES_HELP,
        telemetry::dropped_lines(),
    );
}

/// Values from the current state.
fn readings(app: &App) -> Readings {
    let mut readings = Readings::new();
    read_license(app, &mut readings);
    read_calls(app, &mut readings);
    read_storage(app, &mut readings);
    read_hardware(app, &mut readings);
    read_usage(app, &mut readings);
    readings.labelled(
        "foxsight_license_client_info",
        "Version of this program",
        "version",
        [(env!("CARGO_PKG_VERSION"), Some(1.0))],
    );
    readings
}

fn read_license(app: &App, readings: &mut Readings) {
    let snapshot = app.snapshot();
    let license = snapshot.license();
    let expiry = license.and_then(|license| match license.expiry() {
        Expiry::At(at) => Some(at),
        Expiry::Never | Expiry::Unreadable => None,
    });
    readings.number(
        "foxsight_license_expiry_timestamp_seconds",
        "Time at which the license expires",
        expiry.map(seconds),
    );
    read_release(&snapshot, readings);
    readings.number(
        "foxsight_license_grace_end_timestamp_seconds",
        "Time at which the grace period ends, or would end if no further validation succeeded",
        snapshot.grace_end().map(seconds),
    );
    let lease = snapshot.evidence.lease.as_ref();
    readings.number(
        "foxsight_license_lease_end_timestamp_seconds",
        "Time at which the lease expires unless the license is validated",
        lease.map(Lease::valid_until).map(seconds),
    );
    readings.number(
        "foxsight_license_signed",
        "Whether licenses must be signed",
        truth(app.keys.are_required()),
    );
    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    readings.number(
        "foxsight_license_key_set_version",
        "Version of the trusted vendor key set",
        app.keys.version().map(|version| version as f64),
    );
    let unreadable = license.map(License::unreadable).unwrap_or_default();
    readings.labelled(
        "foxsight_license_unreadable_field",
        "License fields that cannot be read and are treated as absent",
        "field",
        unreadable.into_iter().map(|field| (field, Some(1.0))),
    );
    readings.count(
        "foxsight_license_unknown_feature_checks",
        "Gate checks of features that are in neither the product nor the license",
        app.unknown_features.checks(),
    );
    let standing = snapshot.standing(app.clock.now()).as_str();
    readings.labelled(
        "foxsight_license_standing",
        "Standing of the site",
        "standing",
        ["unlicensed", "active", "grace", "lapsed"].map(|word| (word, truth(word == standing))),
    );
}

fn read_release(snapshot: &Snapshot, readings: &mut Readings) {
    let until = snapshot.license().map(License::updates_until);
    readings.number(
        "foxsight_license_updates_until_timestamp_seconds",
        "Latest release time that the license covers",
        match until {
            Some(Expiry::At(at)) => Some(seconds(at)),
            Some(Expiry::Never | Expiry::Unreadable) | None => None,
        },
    );
    let (document, covered) = match snapshot.release() {
        ReleaseDocument::Absent => (None, None),
        ReleaseDocument::Unusable(_) => (truth(false), None),
        ReleaseDocument::Verified(installed) => {
            let covered = match coverage(snapshot.license(), installed.release()) {
                Coverage::Covered => truth(true),
                Coverage::NotCovered { .. } => truth(false),
                Coverage::Unknown => None,
            };
            (truth(true), covered)
        }
    };
    readings.number(
        "foxsight_license_release_document_valid",
        "Whether the document of the installed release can be used",
        document,
    );
    readings.number(
        "foxsight_license_release_covered",
        "Whether the license covers the installed release",
        covered,
    );
}

fn read_calls(app: &App, readings: &mut Readings) {
    let now = app.clock.now();
    let snapshot = app.snapshot();
    let contact = snapshot.license().and(snapshot.evidence.confirmed_at);
    readings.number(
        "foxsight_license_last_contact_timestamp_seconds",
        "Time of the last confirmed validation or activation",
        contact.map(seconds),
    );
    let due = due(app, now);
    readings.number(
        "foxsight_license_next_validation_timestamp_seconds",
        "Time at which the next call to the License Server is due",
        due.validation.map(seconds),
    );
    let overdue = due.planned_validation.map(|at| now - at);
    readings.number(
        "foxsight_license_validation_overdue_seconds",
        "How long a validation has been overdue",
        overdue.map(|by| duration(by).max(0.0)),
    );
    readings.number(
        "foxsight_license_scheduler",
        "Whether this process makes the scheduled calls",
        truth(app.scheduler.may_call(app.clock.uptime())),
    );
    readings.number(
        "foxsight_license_schedule_stopped",
        "Whether no process makes the scheduled calls, although the License Server is reachable",
        truth(app.scheduler.is_stopped()),
    );
}

fn read_storage(app: &App, readings: &mut Readings) {
    readings.number(
        "foxsight_license_database_up",
        "Whether the database is available",
        truth(app.knowledge.is_database_available()),
    );
    readings.number(
        "foxsight_license_unwritten_changes",
        "Whether changes are waiting to be written to the database",
        truth(app.knowledge.has_unwritten()),
    );
    readings.number(
        "foxsight_license_clock_ahead_seconds",
        "How far the wall clock is ahead of the effective time",
        app.time.wall_ahead().map(duration),
    );
}

fn read_hardware(app: &App, readings: &mut Readings) {
    let comparison = app.knowledge.comparison();
    let drift = comparison.as_ref().and_then(|c| match c.verdict {
        Verdict::Same => Some(0.0),
        Verdict::Drifted => Some(1.0),
        Verdict::Unknown => None,
    });
    readings.number(
        "foxsight_license_hardware_drift",
        "Whether this machine appears to differ from the recorded machine",
        drift,
    );
    let changed = comparison.iter().flat_map(|c| c.changed());
    readings.labelled(
        "foxsight_license_hardware_component_changed",
        "Hardware components that have changed",
        "component",
        changed.map(|component: Component| (component.as_str(), Some(1.0))),
    );
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
fn read_usage(app: &App, readings: &mut Readings) {
    let now = app.plausible_time();
    let (usage, snapshot) = (app.meter.usage(now.latest()), app.snapshot());
    let keys = snapshot.counted(&usage).into_iter().take(MAX_COUNTED);
    let keys: Vec<String> = keys.map(str::to_owned).collect();
    readings.labelled(
        "foxsight_license_usage",
        "Usage by resource",
        "resource",
        keys.iter()
            .map(|key| (key.clone(), usage.of(key).map(|n| n as f64))),
    );
    readings.labelled(
        "foxsight_license_limit",
        "Limits set by the license",
        "resource",
        keys.iter().map(|key| {
            let limit = snapshot.limit(key, now).number();
            (key.clone(), limit.map(|n| n as f64))
        }),
    );
}

fn truth(value: bool) -> Option<f64> {
    Some(f64::from(value))
}

/// Seconds since 1970.
#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}

/// In seconds.
#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
fn duration(span: TimeDelta) -> f64 {
    span.num_milliseconds() as f64 / 1000.0
}
