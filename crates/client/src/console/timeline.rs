//! Contact with the License Server in the last thirty days, as a plot.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use license_console::moment::Moment;
use license_console::plot::{self, Tone};

use crate::app::App;
use crate::store::local_license_validation_attempts::{AttemptsOfDay, LoggedAttempt};

const DAYS: usize = 30;
/// The text alternative of the plot.
const SUMMARY: &str = "Calls to the License Server on each of the last 30 days";

/// Results of calls to the License Server.
pub(super) struct Timeline {
    /// SVG.
    pub(super) plot: String,
    pub(super) confirmed: u64,
    pub(super) lost: u64,
    pub(super) denied: u64,
    pub(super) failed: u64,
    pub(super) failures: Vec<Failure>,
}

/// A call that was not confirmed.
pub(super) struct Failure {
    pub(super) at: Moment,
    pub(super) result: String,
    pub(super) cause: String,
}

/// Results of the calls of one day.
#[derive(Clone, Copy, Default)]
struct Day {
    confirmed: u64,
    lost: u64,
    denied: u64,
    /// Failed activations: a refused or mistyped key, or no contact.
    failed: u64,
}

/// `None` if the log cannot be read.
pub(super) async fn timeline(app: &App, now: DateTime<Utc>) -> Option<Timeline> {
    let today = now.date_naive();
    let first = today - TimeDelta::days(DAYS as i64 - 1);
    let from = first.and_time(NaiveTime::MIN).and_utc();
    let summary = app.attempts.summary(from, DAYS as u32).await?;
    let mut days = [Day::default(); DAYS];
    for counted in &summary.days {
        let index = usize::try_from((counted.day - first).num_days()).ok();
        if let Some(day) = index.and_then(|index| days.get_mut(index)) {
            *day = Day::of(counted);
        }
    }
    let sum = |of: fn(&Day) -> u64| days.iter().map(of).sum();
    Some(Timeline {
        plot: plot::daily(SUMMARY, today, &days.map(bar)),
        confirmed: sum(|day| day.confirmed),
        lost: sum(|day| day.lost),
        denied: sum(|day| day.denied),
        failed: sum(|day| day.failed),
        failures: summary.failures.iter().filter_map(failure).collect(),
    })
}

impl Day {
    fn of(counted: &AttemptsOfDay) -> Self {
        let told = counted.confirmed + counted.denied + counted.failed;
        Self {
            confirmed: counted.confirmed,
            denied: counted.denied,
            failed: counted.failed,
            lost: counted.all.saturating_sub(told),
        }
    }
}

fn bar(day: Day) -> plot::Bar {
    vec![
        (Tone::Good, day.confirmed),
        (Tone::Wait, day.lost),
        (Tone::Bad, day.denied),
        (Tone::Plain, day.failed),
    ]
}

fn failure(attempt: &LoggedAttempt) -> Option<Failure> {
    Some(Failure {
        at: Moment::of(attempt.attempted_at?),
        result: attempt.result.clone(),
        cause: attempt.error_message.clone().unwrap_or_default(),
    })
}
