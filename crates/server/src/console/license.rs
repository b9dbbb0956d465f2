//! One license: its data, its seats, its history, and the actions that change it.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Form};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use license_console::gauge::Gauge;
use license_console::id::short;
use license_console::moment::{Moment, ago};
use license_console::page::show;
use license_console::plot;
use license_core::seat::Overlap;
use license_core::usage::{Resource, Usage};
use serde::Deserialize;

use super::audit::{Entry, entry};
use super::filters::{unreadable, without_nul};
use super::frame::{Confirmation, Done, Fact, Frame, Said, trouble};
use super::gauges::gauges;
use super::pager::{Pager, ROWS};
use crate::app::App;
use crate::audit::Actor;
use crate::http::error::ApiError;
use crate::licensing::claim::moves_left;
use crate::licensing::current::current;
use crate::licensing::expiry::end_of;
use crate::licensing::fleet::Seen;
use crate::licensing::history::greatest_by_day;
use crate::licensing::judge::ShownStatus;
use crate::licensing::look_up::look_up;
use crate::licensing::{renew, seats as freeing, status};
use crate::store::audit_log::{self, Filter};
use crate::store::installations::reported;
use crate::store::licenses::{License, Status};
use crate::store::page::PageStart;
use crate::store::seats::{Seat, SeatsQuery, TakenAt};
use crate::store::{seats, suspicions};

/// Days of usage on the page.
const DAYS: u32 = 90;
/// History entries on the page.
const HISTORY: u64 = 50;
/// Former machines on the page.
const FREED: u64 = 20;
/// Suspicions on the page.
const SUSPICIONS: u64 = 20;

#[derive(Template)]
#[template(path = "license.html")]
struct LicensePage {
    frame: Frame,
    license: License,
    starts: Option<Moment>,
    ends: Option<Moment>,
    issued: Moment,
    /// The code of its status.
    state: &'static str,
    limits: Vec<Limit>,
    held: Vec<Machine>,
    held_count: u64,
    /// How many more seats are held than the license has.
    over_seats: u64,
    pager: Pager,
    moves_left: u32,
    /// Freed seats whose leases have not ended; those that count come first.
    waiting: Vec<Machine>,
    /// The total number, if not all of them are shown.
    waiting_total: Option<u64>,
    freed: Vec<Machine>,
    freed_count: u64,
    suspicions: Vec<Suspected>,
    plots: Vec<Plot>,
    history: Vec<Entry>,
}

struct Machine {
    name: String,
    version: String,
    hardware_id: String,
    hardware_id_short: String,
    standing: &'static str,
    seen: Moment,
    ago: String,
    freed: Option<Moment>,
    may_run_until: Option<Moment>,
    /// `moved`, `released` or empty.
    overlap: &'static str,
    /// Whether its lease is not extended, because the license has fewer seats than are taken.
    is_excess: bool,
    gauges: Vec<Gauge>,
}

struct Limit {
    resource: &'static str,
    limit: Option<u64>,
}

struct Suspected {
    kind: String,
    hardware_id_short: String,
    times: u64,
    last: Moment,
}

struct Plot {
    resource: &'static str,
    svg: String,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    Path(license): Path<String>,
    said: Result<Query<Said>, QueryRejection>,
    wanted: Result<Query<SeatsAt>, QueryRejection>,
) -> Response {
    let done = said.map(|Query(said)| said).unwrap_or_default().done;
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted.page,
        Err(error) => return trouble("licenses", unreadable(&error)),
    };
    match load(&app, &license, wanted).await {
        Ok(mut page) => {
            page.frame = Frame::new("licenses").after(done);
            show(StatusCode::OK, &page)
        }
        Err(error) => trouble("licenses", error),
    }
}

/// The page of the table of seats.
#[derive(Default, Deserialize)]
pub(super) struct SeatsAt {
    #[serde(default)]
    page: u64,
}

async fn load(app: &App, license: &str, wanted: u64) -> Result<LicensePage, ApiError> {
    let (db, now) = (app.store.reader(), app.clock.now());
    let license = current(db, look_up(&app.store, license).await?, now).await?;
    let all_held = SeatsQuery::held();
    let held_count = seats::count(db, &license.id, &all_held).await?;
    let pager = Pager::new(wanted, held_count, &[]);
    let on_page = SeatsQuery {
        start: PageStart::Offset(Pager::offset(pager.page)),
        ..all_held
    };
    let held = seats::list(db, &license.id, &on_page, ROWS).await?;
    let all_freed = SeatsQuery {
        held: Some(false),
        freed_last_first: true,
        ..SeatsQuery::default()
    };
    let freed = seats::list(db, &license.id, &all_freed, FREED).await?;
    let waiting = seats::running_freed(db, &license.id, now, ROWS).await?;
    let waiting_total = seats::count_running_freed(db, &license.id, now).await?;
    let suspected = suspicions::list(db, Some(&license.id), SUSPICIONS).await?;
    let used = greatest_by_day(app, &license.id, DAYS).await?;
    let of_this = Filter {
        license_id: Some(license.id.clone()),
        ..Filter::default()
    };
    let history = audit_log::newest(db, &of_this, HISTORY).await?;
    let first_excess = seats::first_excess(db, &license.id, license.seats, now).await?;
    let machine = |seat: &Seat| machine(seat, &license, first_excess, now);
    Ok(LicensePage {
        frame: Frame::new("licenses"),
        starts: license.starts_at.map(Moment::of),
        ends: license.expires_at.map(Moment::of),
        issued: Moment::of(license.created_at),
        state: ShownStatus::of(&license, now).as_str(),
        limits: Resource::ALL
            .map(|resource| Limit {
                resource: resource.as_str(),
                limit: limit(&license, resource),
            })
            .into(),
        held: held.iter().map(machine).collect(),
        held_count,
        over_seats: held_count.saturating_sub(license.seats.into()),
        pager,
        moves_left: moves_left(db, &license, now).await?,
        waiting: waiting.iter().map(machine).collect(),
        waiting_total: Some(waiting_total).filter(|total| *total > ROWS),
        freed_count: seats::count(db, &license.id, &all_freed).await?,
        freed: freed.iter().map(machine).collect(),
        suspicions: suspected
            .into_iter()
            .map(|it| Suspected {
                kind: it.kind,
                hardware_id_short: short(&it.hardware_id),
                times: it.times,
                last: Moment::of(it.last_seen_at),
            })
            .collect(),
        plots: plots(&license, &used),
        history: history.into_iter().map(entry).collect(),
        license,
    })
}

fn machine(
    seat: &Seat,
    license: &License,
    first_excess: Option<TakenAt>,
    now: DateTime<Utc>,
) -> Machine {
    let usage = reported(seat.usage.clone());
    Machine {
        name: seat.installation_name.clone(),
        version: seat.installation_version.clone(),
        hardware_id: seat.hardware_id.clone(),
        hardware_id_short: short(&seat.hardware_id),
        standing: Seen::of(license.status, license.expires_at, seat.signed, now).as_str(),
        seen: Moment::of(seat.last_seen_at),
        ago: ago(now - seat.last_seen_at),
        freed: seat.freed_at.map(Moment::of),
        may_run_until: seat.signed_until.map(Moment::of),
        overlap: seat.overlap.map(Overlap::as_str).unwrap_or_default(),
        is_excess: seat.is_excess(first_excess, now),
        gauges: gauges(&usage, license.counts.keys(), |key| license.granted(key)),
    }
}

fn limit(license: &License, resource: Resource) -> Option<u64> {
    license.granted(resource.as_str()).number()
}

fn plots(license: &License, days: &[(NaiveDate, Usage)]) -> Vec<Plot> {
    Resource::ALL
        .into_iter()
        .filter_map(|resource| {
            let points: Vec<_> = days
                .iter()
                .filter_map(|(day, usage)| {
                    let at = day.and_time(NaiveTime::MIN).and_utc();
                    Some((at, usage.of(resource)?))
                })
                .collect();
            let summary = format!("{} on each of the last {DAYS} days", resource.as_str());
            (points.len() > 1).then(|| Plot {
                resource: resource.as_str(),
                svg: plot::line(&summary, &points, limit(license, resource)),
            })
        })
        .collect()
}

/// The actions on a license.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum What {
    Renew,
    Suspend,
    Reinstate,
    Revoke,
    Free,
    Release,
}

/// The fields of the form.
#[derive(Default, Deserialize)]
pub(super) struct ActionForm {
    #[serde(default)]
    message: String,
    #[serde(default)]
    day: String,
    #[serde(default)]
    machine: String,
    /// Until when the machine may run, as shown on the confirmation page.
    #[serde(default)]
    may_run_until: String,
}

/// The machine, if the action concerns one.
#[derive(Default, Deserialize)]
pub(super) struct About {
    #[serde(default)]
    machine: String,
}

pub(super) async fn ask(
    State(app): State<Arc<App>>,
    Path((license, what)): Path<(String, What)>,
    about: Result<Query<About>, QueryRejection>,
) -> Response {
    let machine = about.map(|Query(about)| about.machine).unwrap_or_default();
    if let Err(error) = without_nul("machine", &machine) {
        return trouble("licenses", error);
    }
    match look_up(&app.store, &license).await {
        Ok(license) => {
            let day = license.expires_at.map(|end| end.format("%Y-%m-%d"));
            let seat = seats::find(app.store.reader(), &license.id, &machine).await;
            let until = match seat {
                Ok(seat) => seat.and_then(|seat| seat.signed_until),
                Err(error) => return trouble("licenses", error),
            };
            let given = ActionForm {
                may_run_until: until.map(freeing::in_seconds).unwrap_or_default(),
                day: day.map(|day| day.to_string()).unwrap_or_default(),
                machine,
                ..ActionForm::default()
            };
            question(&license, what, &given).ask("licenses")
        }
        Err(error) => trouble("licenses", error),
    }
}

pub(super) async fn change(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path((license, what)): Path<(String, What)>,
    Form(given): Form<ActionForm>,
) -> Response {
    let license = match look_up(&app.store, &license).await {
        Ok(license) => license,
        Err(error) => return trouble("licenses", error),
    };
    match carry_out(&app, actor, &license, what, &given).await {
        Ok(done) => done.redirect(&address(&license)),
        Err(error) => question(&license, what, &given).ask_again("licenses", &error),
    }
}

async fn carry_out(
    app: &App,
    actor: Actor,
    license: &License,
    what: What,
    given: &ActionForm,
) -> Result<Done, ApiError> {
    let (store, change) = (&app.store, app.change(actor));
    let words = Some(given.message.trim()).filter(|words| !words.is_empty());
    let set = |status, words| status::set_status(store, &license.id, status, words, &change);
    match what {
        What::Renew => {
            let change = app.permitted_change(change.by.clone())?;
            renew::renew(store, &license.id, last_day(&given.day)?, &change).await?;
            Ok(Done::Renewed)
        }
        What::Suspend => {
            set(Status::Suspended, words).await?;
            Ok(Done::Suspended)
        }
        What::Reinstate => {
            set(Status::Active, None).await?;
            Ok(Done::Reinstated)
        }
        What::Revoke => {
            set(Status::Revoked, words).await?;
            Ok(Done::Revoked)
        }
        What::Free => {
            let machine = without_nul("machine", &given.machine)?;
            freeing::free(store, &license.id, machine, &change).await?;
            Ok(Done::SeatFreed)
        }
        What::Release => {
            let machine = without_nul("machine", &given.machine)?;
            let until = given.may_run_until.parse().ok();
            freeing::release(store, &license.id, machine, until, &change).await?;
            Ok(Done::SeatReleased)
        }
    }
}

/// The end date in the form; empty means never.
pub(super) fn last_day(text: &str) -> Result<Option<DateTime<Utc>>, ApiError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong =
        || ApiError::BadRequest("invalid date; expected a date such as 2030-12-31".to_owned());
    end_of(text).map(Some).ok_or_else(wrong)
}

pub(super) fn address(license: &License) -> String {
    format!("/console/licenses/{}", license.id)
}

fn question(license: &License, what: What, given: &ActionForm) -> Confirmation {
    let word = match what {
        What::Renew => "renew",
        What::Suspend => "suspend",
        What::Reinstate => "reinstate",
        What::Revoke => "revoke",
        What::Free => "free",
        What::Release => "release",
    };
    let mut facts = vec![
        Fact::new("customer", &license.customer),
        Fact::new("key", &license.license_key),
        Fact::new("tier", &license.tier),
    ];
    let mut hidden = Vec::new();
    if matches!(what, What::Free | What::Release) {
        facts.push(Fact::new("machine", &given.machine));
        facts.push(Fact::new("may-run-until", &given.may_run_until));
        hidden.push(("machine", given.machine.clone()));
        hidden.push(("may_run_until", given.may_run_until.clone()));
    }
    Confirmation {
        what: word,
        action: format!("{}/{word}", address(license)),
        back: address(license),
        edit: None,
        facts,
        hidden,
        message: matches!(what, What::Suspend | What::Revoke).then(|| given.message.clone()),
        day: (what == What::Renew).then(|| given.day.clone()),
        days: None,
        is_destructive: matches!(
            what,
            What::Suspend | What::Revoke | What::Free | What::Release
        ),
    }
}
