//! One license: its data, its entitlements, its seats, its history, and the actions that change it.

pub(super) mod actions;
pub(super) mod amendments;
mod entitlements;

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
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
use super::ends::ShownEnd;
use super::filters::unreadable;
use super::frame::{Frame, Said, trouble};
use super::gauges::gauges;
use super::pager::{Pager, ROWS};
use crate::app::App;
use crate::http::error::ApiError;
use crate::licensing::amendment_words::{History, Told};
use crate::licensing::claim::moves_left;
use crate::licensing::current::with_history;
use crate::licensing::evaluation::in_turn;
use crate::licensing::history::greatest_by_day;
use crate::licensing::item_words::ItemNames;
use crate::licensing::judge::ShownStatus;
use crate::licensing::look_up::look_up;
use crate::licensing::seen_standing::Seen;
use crate::store::audit_log::{self, Filter};
use crate::store::installations::reported;
use crate::store::licenses::License;
use crate::store::page::PageStart;
use crate::store::seats::{Seat, SeatsQuery, TakenAt};
use crate::store::{seats, suspicions};
use amendments::ToldAmendment;
use entitlements::Entitlements;
pub(super) use entitlements::value_words;

/// Days of usage on the page.
const DAYS: u32 = 90;
/// Amendments on the page.
const AMENDMENTS: usize = 20;
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
    ends: ShownEnd,
    issued: Moment,
    /// The code of its status.
    state: &'static str,
    granted: Entitlements,
    amendments: Vec<ToldAmendment>,
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

struct Suspected {
    kind: String,
    hardware_id_short: String,
    times: u64,
    last: Moment,
}

struct Plot {
    /// What is counted.
    name: String,
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
    let license = look_up(&app.store, license).await?;
    let telling = async {
        let (license, amendments) = with_history(db, license, now).await?;
        let history = History::read(db, amendments).await?;
        let (of, settings) = (license.clone(), app.terms.clone());
        let told = move |told: Told<'_>| {
            let granted = entitlements::entitlements(&settings, &of, &told, now);
            let newest = amendments::newest(&told, &of, u32::MAX, AMENDMENTS, now);
            (granted, newest)
        };
        let told = history.told(&app.store, told).await?;
        Ok::<_, ApiError>((license, told, history.items()))
    };
    let (license, (granted, newest), items) = in_turn(&app.store, telling).await?;
    let items = &*items;
    let all_held = SeatsQuery::held();
    let held_count = seats::count(db, &license.id, &all_held).await?;
    let pager = Pager::new(wanted, held_count, &[]);
    let on_page = SeatsQuery {
        start: PageStart::Offset(Pager::offset(pager.page)),
        ..all_held
    };
    let held = seats::list(db, &license.id, &on_page, ROWS).await?.rows;
    let all_freed = SeatsQuery {
        held: Some(false),
        freed_last_first: true,
        ..SeatsQuery::default()
    };
    let freed = seats::list(db, &license.id, &all_freed, FREED).await?.rows;
    let waiting = seats::running_freed(db, &license.id, now, ROWS).await?;
    let waiting_total = seats::count_running_freed(db, &license.id, now).await?;
    let suspected = suspicions::list(db, Some(&license.id), SUSPICIONS)
        .await?
        .rows;
    let used = greatest_by_day(app, &license.id, DAYS).await?;
    let of_this = Filter {
        license_id: Some(license.id.clone()),
        ..Filter::default()
    };
    let log = audit_log::newest(db, &of_this, HISTORY).await?;
    let first_excess = seats::first_excess(db, &license.id, license.seats, now).await?;
    let machine = |seat: &Seat| machine(seat, &license, first_excess, items, now);
    Ok(LicensePage {
        frame: Frame::new("licenses"),
        starts: license.starts_at.map(Moment::of),
        ends: ShownEnd::of(&license),
        issued: Moment::of(license.created_at),
        state: ShownStatus::of(&license, now).as_str(),
        granted,
        amendments: newest,
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
        plots: plots(&license, &used, items),
        history: log.into_iter().map(entry).collect(),
        license,
    })
}

fn machine(
    seat: &Seat,
    license: &License,
    first_excess: Option<TakenAt>,
    items: &ItemNames,
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
        gauges: gauges(
            &usage,
            license.counts.keys(),
            |key| license.granted(key),
            items,
        ),
    }
}

fn limit(license: &License, resource: Resource) -> Option<u64> {
    license.granted(resource.as_str()).number()
}

fn plots(license: &License, days: &[(NaiveDate, Usage)], items: &ItemNames) -> Vec<Plot> {
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
            let name = items.name(resource.as_str());
            let summary = format!("{name} on each of the last {DAYS} days");
            (points.len() > 1).then(|| Plot {
                name,
                svg: plot::line(&summary, &points, limit(license, resource)),
            })
        })
        .collect()
}

/// The URL of a license's page.
pub(super) fn address(license: &License) -> String {
    format!("/console/licenses/{}", license.id)
}
