//! Contact with the License Server in the last thirty days, as a plot.

use chrono::{DateTime, TimeDelta, Utc};
use license_console::moment::Moment;
use license_console::plot::{self, Tone};

use crate::app::App;
use crate::licensing::attempts::attempts;
use crate::store::local_license_validation_attempts::LoggedAttempt;

const DAYS: usize = 30;
/// What the plot is, for those who do not see it.
const SUMMARY: &str = "Calls to the License Server on each of the last 30 days";
/// Failures that are listed.
const LISTED: usize = 5;

/// What has come of calls to the License Server.
pub(super) struct Timeline {
    /// SVG.
    pub(super) plot: String,
    pub(super) confirmed: u64,
    pub(super) lost: u64,
    pub(super) denied: u64,
    pub(super) failures: Vec<Failure>,
}

/// A call that was not confirmed.
pub(super) struct Failure {
    pub(super) at: Moment,
    pub(super) result: String,
    pub(super) cause: String,
}

/// What came of the calls of one day.
#[derive(Clone, Copy, Default)]
struct Day {
    confirmed: u64,
    lost: u64,
    denied: u64,
}

/// `None` when the log cannot be read.
pub(super) async fn timeline(app: &App, now: DateTime<Utc>) -> Option<Timeline> {
    let from = now - TimeDelta::days(DAYS as i64);
    let attempts = attempts(app).await?;
    let attempts: Vec<_> = attempts
        .iter()
        .filter(|attempt| attempt.attempted_at.is_some_and(|at| at >= from))
        .collect();
    let today = now.date_naive();
    let mut days = [Day::default(); DAYS];
    for attempt in &attempts {
        let at = attempt.attempted_at.map(|at| at.date_naive());
        let Some(day) =
            at.and_then(|at| days.get_mut(usize::try_from((today - at).num_days()).ok()?))
        else {
            continue;
        };
        match attempt.result.as_str() {
            "success" => day.confirmed += 1,
            "denied" => day.denied += 1,
            _ => day.lost += 1,
        }
    }
    days.reverse();
    let sum = |of: fn(&Day) -> u64| days.iter().map(of).sum();
    let failures = attempts.iter().filter(|it| it.result != "success");
    Some(Timeline {
        plot: plot::daily(SUMMARY, today, &days.map(bar)),
        confirmed: sum(|day| day.confirmed),
        lost: sum(|day| day.lost),
        denied: sum(|day| day.denied),
        failures: failures.take(LISTED).filter_map(|it| failure(it)).collect(),
    })
}

fn bar(day: Day) -> plot::Bar {
    vec![
        (Tone::Good, day.confirmed),
        (Tone::Wait, day.lost),
        (Tone::Bad, day.denied),
    ]
}

fn failure(attempt: &LoggedAttempt) -> Option<Failure> {
    Some(Failure {
        at: Moment::of(attempt.attempted_at?),
        result: attempt.result.clone(),
        cause: attempt.error_message.clone().unwrap_or_default(),
    })
}
