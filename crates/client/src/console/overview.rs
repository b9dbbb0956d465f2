//! The overview: the standing of the site.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use license_console::gauge::Gauge;
use license_console::id::short;
use license_console::moment::{Moment, left};
use license_console::page::show;
use license_core::entitlement::Period;
use license_core::evidence::Failure;
use license_core::feature::{CORE_FEATURES, FeatureKey, is_core};
use license_core::hardware::{Change, Comparison, Verdict};
use license_core::lapse;
use license_core::last_change::LastChange;
use license_core::lease::Lease;
use license_core::license::{Expiry, License, MovesLeft};
use license_core::plausible_time::PlausibleTime;
use license_core::reason_words::for_operator;
use license_core::standing::Standing;
use license_core::usage::Usage;

use super::frame::{Frame, Said};
use super::timeline::{Timeline, timeline};
use super::warnings::{dated, warnings};
use crate::app::App;
use crate::http::access::Caller;
use crate::http::hardware::word;
use crate::http::license::unread;
use crate::knowledge::snapshot::Snapshot;
use crate::licensing::decide::unknown_features;
use crate::licensing::due::due;
use crate::licensing::usage::{SHARED, measure};
use crate::unknown_features::UnknownFeature;

/// Maximum number of features on the page.
const MAX_SHOWN_FEATURES: usize = 500;
/// Maximum number of gauges on the page.
const MAX_SHOWN_GAUGES: usize = 100;

/// Shown instead of "no license", while that is not known.
const UNREAD: &str = "The license could not be read";

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    standing: Standing,
    title: String,
    /// Why it is not known whether there is a license.
    unread: Option<String>,
    /// The vendor's message.
    message: Option<String>,
    failure: Option<Failure>,
    until: Moment,
    seconds_left: i64,
    left: String,
    confirmed: Moment,
    offline_until: Option<Moment>,
    unsigned: bool,
    license: Option<LicenseCard>,
    next_validation: Option<Moment>,
    installation_id: String,
    hardware_id: String,
    hardware_id_short: String,
    hardware: Verdict,
    changed_components: Vec<Component>,
    gauges: Vec<Gauge>,
    /// How many more there are, which only the API lists.
    hidden_gauges: usize,
    usage_known: bool,
    warnings: Vec<String>,
    last_change: Option<ShownChange>,
    next_change: Option<String>,
    features: Vec<Feature>,
    /// How many more there are, which only the API lists.
    hidden_features: usize,
    /// Unknown features that gates have asked about.
    unknown_features: Vec<UnknownFeature>,
    timeline: Option<Timeline>,
}

struct LicenseCard {
    key: String,
    customer: Option<String>,
    tier: String,
    expires: String,
    /// How long that is from now.
    left: Option<String>,
    updates_until: Option<String>,
    /// The version of the installed release, if its document is signed.
    release: Option<String>,
    seats: Option<i64>,
    moves: Option<MovesLeft>,
}

/// What changed last in the license.
struct ShownChange {
    at: Moment,
    changes: Vec<String>,
    more: usize,
}

struct Component {
    name: &'static str,
    change: &'static str,
}

struct Feature {
    key: String,
    available: bool,
    reason: String,
    /// When it starts or ends.
    dates: Option<String>,
    switched_off: bool,
    /// Core features cannot be switched off, and unlicensed ones need not be.
    can_be_switched: bool,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    caller: Caller,
    said: Result<Query<Said>, QueryRejection>,
) -> Response {
    let done = said.map(|Query(said)| said).unwrap_or_default().done;
    let frame = Frame::new("overview", &app, caller).after(done);
    let usage = measure(&app, SHARED).await;
    let time = app.plausible_time();
    let now = time.latest();
    let timeline = timeline(&app, now).await;
    let snapshot = app.snapshot().clone();
    let evidence = &snapshot.evidence;
    let standing = snapshot.standing(now);
    let license = snapshot.license();
    let until = snapshot.grace_end().unwrap_or(now);
    let identity = app.identity();
    let hardware_id = identity.as_ref().map(|it| it.hardware_id.clone());
    let hardware_id = hardware_id.unwrap_or_default();
    let comparison = app.knowledge.comparison();
    let confirmed = evidence.confirmed_at.or(evidence.activated_at);
    let is_offline = evidence.lease.as_ref().is_some_and(Lease::is_offline);
    let unread = unread(&app, caller);
    let (features, hidden_features) = features(&snapshot, unread.is_some(), time);
    let (gauges, hidden_gauges) = gauges(&usage, &snapshot, time);
    let entitled = app.entitled.at(&snapshot, time);
    let upcoming = entitled.upcoming();
    let warnings = warnings(&usage, &snapshot, upcoming, time);
    let starts_at = entitled.starts_at();
    let overview = Overview {
        frame,
        title: match unread {
            Some(_) => UNREAD.to_owned(),
            None => title(&standing, &warnings, starts_at),
        },
        unread,
        standing,
        message: evidence
            .denial
            .as_ref()
            .map(|denial| denial.claims().message.clone()),
        failure: evidence.last_failure.clone(),
        until: Moment::of(until),
        seconds_left: (until - now).num_seconds(),
        left: left(until - now),
        confirmed: Moment::of(confirmed.unwrap_or(now)),
        offline_until: evidence
            .lease
            .as_ref()
            .filter(|_| is_offline)
            .map(|lease| Moment::of(lease.valid_until())),
        unsigned: !app.keys.are_required(),
        license: license.map(|license| card(license, &snapshot, caller, now)),
        next_validation: due(&app, now).validation.map(Moment::of),
        installation_id: identity
            .map(|identity| identity.installation_id.clone())
            .unwrap_or_default(),
        hardware_id_short: short(&hardware_id),
        hardware_id,
        hardware: comparison
            .as_ref()
            .map_or(Verdict::Unknown, |it| it.verdict),
        changed_components: changed_components(comparison.as_deref()),
        gauges,
        hidden_gauges,
        usage_known: usage != Usage::default(),
        last_change: entitled.last_change(caller.trusted).map(ShownChange::from),
        next_change: upcoming.first().map(dated),
        warnings,
        features,
        hidden_features,
        unknown_features: unknown_features(&app),
        timeline,
    };
    show(StatusCode::OK, &overview)
}

fn title(standing: &Standing, warnings: &[String], starts_at: Option<DateTime<Utc>>) -> String {
    let title = match (standing, starts_at) {
        (Standing::Unlicensed, _) => "No license",
        (Standing::Active, Some(at)) => {
            return format!("The license starts on {}", Moment::of(at).text);
        }
        (Standing::Active, None) if !warnings.is_empty() => "The license is active, with warnings",
        (Standing::Active, None) => "Everything is OK",
        (Standing::Grace { .. }, _) => "The License Server cannot confirm the license",
        (Standing::Lapsed(why), _) => lapse::shown::headline(why),
    };
    title.to_owned()
}

fn card(license: &License, snapshot: &Snapshot, caller: Caller, now: DateTime<Utc>) -> LicenseCard {
    let installed = snapshot.release().verified();
    LicenseCard {
        key: caller.sees(snapshot.evidence.license_key()),
        customer: license
            .customer()
            .filter(|_| caller.trusted)
            .map(str::to_owned),
        tier: license.tier().unwrap_or_default().to_owned(),
        expires: end_text(license.expiry(), license.expires_at_text()),
        left: license.days_left(now).map(|days| match days {
            0 => "less than a day left".to_owned(),
            1 => "1 day left".to_owned(),
            days => format!("{days} days left"),
        }),
        updates_until: match license.updates_until() {
            Expiry::Never => None,
            end => Some(end_text(end, license.updates_until_text())),
        },
        release: installed.map(|installed| installed.release().version.clone()),
        seats: license.seats(),
        moves: license.moves(),
    }
}

impl From<LastChange> for ShownChange {
    fn from(change: LastChange) -> Self {
        Self {
            at: Moment::of(change.at),
            changes: change.changes.iter().map(ToString::to_string).collect(),
            more: change.more,
        }
    }
}

fn changed_components(comparison: Option<&Comparison>) -> Vec<Component> {
    let all = comparison.map(|comparison| &comparison.components);
    let changed = all
        .into_iter()
        .flatten()
        .filter(|(_, change)| **change != Change::Same);
    let shown = changed.map(|(component, change)| Component {
        name: component.as_str(),
        change: word(*change),
    });
    shown.collect()
}

/// The first gauges, and how many more there are.
fn gauges(usage: &Usage, snapshot: &Snapshot, now: PlausibleTime) -> (Vec<Gauge>, usize) {
    let counted = snapshot.counted(usage);
    let hidden = counted.len().saturating_sub(MAX_SHOWN_GAUGES);
    let gauge = |key: &str| Gauge::of(key, usage.of(key), snapshot.limit(key, now).number());
    let shown = counted.into_iter().take(MAX_SHOWN_GAUGES);
    (shown.map(gauge).collect(), hidden)
}

/// An end that is written as `text` in the license.
fn end_text(end: Expiry, text: Option<&str>) -> String {
    match end {
        Expiry::Never => "Never".to_owned(),
        Expiry::At(at) => Moment::of(at).text,
        Expiry::Unreadable => match text {
            Some(text) => format!("{text} (cannot be read)"),
            None => "Cannot be read".to_owned(),
        },
    }
}

fn dates(bounds: Period, now: DateTime<Utc>) -> Option<String> {
    let text = |at| Moment::of(at).text;
    match (bounds.from, bounds.until) {
        (Some(from), Some(until)) => {
            Some(format!("Starts on {}, ends on {}", text(from), text(until)))
        }
        (Some(from), None) => Some(format!("Starts on {}", text(from))),
        (None, Some(until)) if until < now => Some(format!("Ended on {}", text(until))),
        (None, Some(until)) => Some(format!("Until {}", text(until))),
        (None, None) => None,
    }
}

/// The first features, core features first, and how many more there are.
fn features(snapshot: &Snapshot, is_unread: bool, now: PlausibleTime) -> (Vec<Feature>, usize) {
    let entitlements = snapshot.entitlements();
    let known = snapshot.known_features();
    let hidden = known.len().saturating_sub(MAX_SHOWN_FEATURES);
    let others = known.iter().map(FeatureKey::as_str);
    let others = others.filter(|key| !is_core(key));
    let core: BTreeSet<&str> = CORE_FEATURES.into_iter().collect();
    let shown = core.into_iter().chain(others).take(MAX_SHOWN_FEATURES);
    let features = shown.map(|key| {
        let core = is_core(key);
        let switched_off = entitlements.is_switched_off(key);
        snapshot.decide(key, now, |decision| Feature {
            key: key.to_owned(),
            available: decision.available,
            reason: match decision.reason.code() {
                "no_license" if is_unread => UNREAD.to_owned(),
                code => for_operator(code).to_owned(),
            },
            dates: dates(entitlements.bounds(key, now), now.latest()),
            switched_off,
            can_be_switched: !core && (switched_off || entitlements.lists(key)),
        })
    });
    (features.collect(), hidden)
}
