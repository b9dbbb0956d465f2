//! Reads the machine's clocks, and has the effective time stored for the next start.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use license_core::schedule::calls::Calls;
use license_core::standing::Standing;
use license_core::time_guard::{MAX_WAIT, keep_again_after};
use license_service::clock::Clock as _;

use crate::app::App;
use crate::knowledge::timekeeping::Occasion;
use crate::knowledge::timekeeping::effective_clock::EffectiveClock;

/// The interval. Between two readings, only the running time of the process advances the time.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the time is stored in all places. Changes other than running time are stored at the
/// next reading, and the file is written as often as [`keep_again_after`] requires.
const KEEP_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// How often a process that has lapsed only because of its own wall clock asks the License Server,
/// although another process makes the scheduled calls.
const ASK_INTERVAL: Duration = Duration::from_secs(15 * 60);

pub(super) async fn run(app: Arc<App>) -> Infallible {
    match app.time.effective() {
        Some(clock) => watch_effective_time(&app, clock).await,
        None => watch_wall_clock(&app).await,
    }
}

async fn watch_effective_time(app: &App, clock: &EffectiveClock) -> Infallible {
    let mut kept = None;
    let mut asked = app.clock.uptime();
    let mut filed = asked;
    let mut waits_since = None;
    let mut lagged = false;
    loop {
        let running = app.clock.running();
        let awaits = clock.guard().awaits_validation();
        waits_since = waits_since.filter(|_| awaits).or(awaits.then_some(running));
        if waits_since.is_some_and(|since| running.saturating_sub(since) >= MAX_WAIT) {
            // Delaying a response does not delay the time.
            app.knowledge.note_validation_tried();
        }
        let lag = app.plausible_time().lag();
        if lag > TimeDelta::zero() && !lagged {
            tracing::warn!(
                minutes = lag.num_minutes(),
                "the time is not certain, so entitlements that start in the future are delayed by \
                 this amount; a response from the License Server or a license file confirms the \
                 time"
            );
        }
        lagged = lag > TimeDelta::zero();
        let doubted = clock.guard().doubts();
        let is_notable = app.knowledge.observe_clocks();
        if clock.guard().doubts() && !doubted {
            // The License Server decides.
            app.knowledge.note_call(Calls::validation_wanted);
        }
        let uptime = app.clock.uptime();
        if uptime.saturating_sub(asked) >= ASK_INTERVAL && has_lapsed_alone(app, clock) {
            asked = uptime;
            app.knowledge.note_call(Calls::validation_wanted);
        }
        let answers = clock.answers();
        let is_old = kept.as_ref().is_none_or(|(at, believed, known)| {
            uptime.saturating_sub(*at) >= KEEP_INTERVAL
                || answers != *known
                || clock.guard().has_moved_since(believed)
        });
        if is_old || is_notable {
            // A time that may not be stored yet is due at the next reading.
            kept = clock
                .may_be_kept()
                .then(|| (uptime, clock.believed(), answers));
            app.knowledge.keep_time(Occasion::Running).await;
            filed = uptime;
        } else if uptime.saturating_sub(filed) + CHECK_INTERVAL
            >= keep_again_after(app.clock.running())
        {
            app.knowledge.keep_time_in_file().await;
            filed = uptime;
        }
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}

/// Checks whether the wall clock has jumped, and asks the License Server if so.
async fn watch_wall_clock(app: &App) -> Infallible {
    let mut was_ahead = false;
    let mut kept = app.clock.uptime();
    loop {
        let uptime = app.clock.uptime();
        if uptime.saturating_sub(kept) >= KEEP_INTERVAL {
            kept = uptime;
            app.knowledge.write_local_copy().await;
        }
        let ahead = app.time.observe_wall();
        if ahead.is_some() && app.snapshot().evidence.lease.is_none() {
            // There is nothing to ask about.
            let begun = app.time.wall_reading();
            app.knowledge.note_confirmation_tried(begun);
        } else if let Some(ahead) = ahead {
            if !was_ahead {
                let minutes = ahead.num_minutes();
                tracing::warn!(
                    minutes,
                    "the wall clock has jumped ahead; asking the License Server before trusting \
                     the clock"
                );
            }
            app.knowledge.note_call(Calls::validation_wanted);
        }
        was_ahead = ahead.is_some();
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}

fn has_lapsed_alone(app: &App, clock: &EffectiveClock) -> bool {
    let standing = app.snapshot().standing(clock.now());
    clock.guard().is_assumed()
        && matches!(standing, Standing::Lapsed(_))
        && !app.scheduler.may_call(app.clock.uptime())
}
