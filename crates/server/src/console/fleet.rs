//! The fleet: the standing of all installations.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, NaiveDate, Utc};
use license_console::moment::{Moment, ago};
use license_console::number::grouped;
use license_console::page::show;
use license_console::plot::{self, Tone};

use super::frame::{Frame, Said, trouble};
use crate::app::App;
use crate::licensing::fleet::Survey;
use crate::licensing::fleet_summary::Fleet;
use crate::licensing::history::{CallsOfDay, calls_by_day};
use crate::licensing::judge::ShownStatus;
use crate::licensing::seen_standing::Seen;
use crate::store::{StoreError, licenses, suspicions};

/// Days of the plot.
const DAYS: u32 = 30;
/// The text alternative of the plot.
const SUMMARY: &str = "Heartbeats from all sites on each of the last 30 days";
/// The statuses of licenses on the page; the others are the normal ones.
const SHOWN: [ShownStatus; 5] = [
    ShownStatus::Expiring,
    ShownStatus::Expired,
    ShownStatus::Scheduled,
    ShownStatus::Suspended,
    ShownStatus::Revoked,
];
/// Maximum number of suspicions on the page.
const LISTED: u64 = 5;

#[derive(Template)]
#[template(path = "fleet.html")]
struct FleetPage {
    frame: Frame,
    installations: String,
    is_empty: bool,
    no_licenses: bool,
    /// Code of the headline.
    tone: &'static str,
    worries: Vec<Worry>,
    standings: Vec<Standing>,
    versions: Vec<Share>,
    last_seen: Vec<Share>,
    over_limit: u64,
    suspected: u64,
    statuses: Vec<Status>,
    trials: u64,
    licenses: String,
    plot: String,
    confirmed: String,
    denied: String,
    suspicions: Vec<Suspected>,
    at: Moment,
}

/// Items that need attention.
struct Worry {
    code: &'static str,
    count: String,
}

struct Standing {
    code: &'static str,
    count: String,
    percent: u64,
}

/// Licenses with a status.
struct Status {
    code: &'static str,
    count: u64,
}

struct Share {
    /// A version, or the code of a time span.
    name: String,
    count: String,
    percent: u64,
}

struct Suspected {
    license_id: String,
    customer: String,
    kind: String,
    times: u64,
    ago: String,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    State(survey): State<Arc<Survey>>,
    said: Result<Query<Said>, QueryRejection>,
) -> Response {
    let done = said.map(|Query(said)| said).unwrap_or_default().done;
    match load(&app, &survey).await {
        Ok(mut page) => {
            page.frame = Frame::new("fleet").after(done);
            show(StatusCode::OK, &page)
        }
        Err(error) => trouble("fleet", error),
    }
}

async fn load(app: &App, survey: &Survey) -> Result<FleetPage, StoreError> {
    let now = app.clock.now();
    let fleet = survey.fleet(app).await?;
    let calls = calls_by_day(app, "heartbeat", DAYS, now).await?;
    let all = fleet.installations;
    let licenses = fleet.licenses.values().sum();
    let sum = |of: fn(&CallsOfDay) -> u64| grouped(calls.iter().map(of).sum());
    Ok(FleetPage {
        frame: Frame::new("fleet"),
        installations: grouped(all),
        is_empty: all == 0,
        no_licenses: licenses == 0,
        tone: tone(&fleet),
        worries: worries(&fleet),
        standings: Seen::ALL
            .into_iter()
            .map(|seen| {
                let count = fleet.of(seen);
                Standing {
                    code: seen.as_str(),
                    count: grouped(count),
                    percent: percent(count, all),
                }
            })
            .collect(),
        versions: fleet
            .versions
            .iter()
            .map(|it| share(&it.version, it.installations, all))
            .collect(),
        last_seen: [
            ("day", fleet.last_seen.day),
            ("week", fleet.last_seen.week),
            ("month", fleet.last_seen.month),
            ("longer", fleet.last_seen.longer),
        ]
        .map(|(code, count)| share(code, count, all))
        .into(),
        over_limit: fleet.over_limit,
        suspected: fleet.suspected,
        statuses: SHOWN
            .into_iter()
            .map(|status| Status {
                code: status.as_str(),
                count: fleet.licenses_of(status),
            })
            .collect(),
        trials: fleet.trials,
        licenses: grouped(licenses),
        plot: plot(&calls, now.date_naive()),
        confirmed: sum(|day| day.confirmed),
        denied: sum(|day| day.denied),
        suspicions: suspected(app, now).await?,
        at: Moment::of(fleet.at),
    })
}

fn share(name: &str, count: u64, all: u64) -> Share {
    Share {
        name: name.to_owned(),
        count: grouped(count),
        percent: percent(count, all),
    }
}

fn percent(count: u64, all: u64) -> u64 {
    (count * 100).checked_div(all).unwrap_or_default()
}

fn worries(fleet: &Fleet) -> Vec<Worry> {
    let worries = [
        ("withheld", fleet.withheld),
        ("silent", fleet.of(Seen::Silent)),
        ("grace", fleet.of(Seen::Grace)),
        ("suspected", fleet.suspected),
        ("over_limit", fleet.over_limit),
    ];
    let worries = worries.into_iter().filter(|(_, count)| *count > 0);
    let worry = |(code, count)| Worry {
        code,
        count: grouped(count),
    };
    worries.map(worry).collect()
}

/// Whether something needs attention.
fn tone(fleet: &Fleet) -> &'static str {
    if fleet.installations == 0 && fleet.withheld == 0 {
        "unlicensed"
    } else if fleet.withheld > 0 || fleet.of(Seen::Silent) > 0 || fleet.suspected > 0 {
        "lapsed"
    } else if fleet.of(Seen::Grace) > 0 || fleet.over_limit > 0 {
        "grace"
    } else {
        "active"
    }
}

fn plot(calls: &[CallsOfDay], today: NaiveDate) -> String {
    let bars = calls.iter();
    let bars: Vec<plot::Bar> = bars
        .map(|day| vec![(Tone::Good, day.confirmed), (Tone::Bad, day.denied)])
        .collect();
    plot::daily(SUMMARY, today, &bars)
}

async fn suspected(app: &App, now: DateTime<Utc>) -> Result<Vec<Suspected>, StoreError> {
    let db = app.store.reader();
    let mut shown = Vec::new();
    for it in suspicions::list(db, None, LISTED).await?.rows {
        let license = licenses::find_by_id(db, &it.license_id).await?;
        shown.push(Suspected {
            license_id: it.license_id,
            customer: license.map(|license| license.customer).unwrap_or_default(),
            kind: it.kind,
            times: it.times,
            ago: ago(now - it.last_seen_at),
        });
    }
    Ok(shown)
}
