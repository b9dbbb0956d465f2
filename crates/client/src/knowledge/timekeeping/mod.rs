//! The time used for decisions: which clock provides it, what changes it, and how it is stored for
//! the next start.
//!
//! If keys are trusted, it is the [`EffectiveClock`], otherwise the `UnsignedClock`. Other modules
//! read the time from a [`Clock`], and tell [`super::Knowledge`] what proves it; only this module
//! changes the clocks. The time is stored in `time.json` (`time_file`), and as a high-water mark in
//! the database (`mark_row`) and in the local copy.

pub mod effective_clock;
mod events;
mod mark_row;
mod time_file;
mod unsigned_clock;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use chrono::{DateTime, TimeDelta, Utc};
use license_core::evidence::Evidence;
use license_core::plausible_time::PlausibleTime;
use license_core::remembered::Remembered;
use license_core::standing::Policy;
use license_core::time_guard::{ClockEvent, Mark};
use license_core::wall_clock::WallReading;
use license_service::clock::Clock;
use sea_orm::ConnectionTrait;
use tokio::sync::Notify;

use self::effective_clock::EffectiveClock;
use self::mark_row::Stored;
use self::time_file::{KeptTime, TimeFile};
use self::unsigned_clock::UnsignedClock;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};

/// Maximum sleep before the time is checked again: it may have been set.
const MAX_SLEEP: Duration = Duration::from_secs(30);

/// The time used for decisions.
pub struct Timekeeping {
    source: Source,
    metrics: Arc<Metrics>,
    trouble: ArcSwapOption<String>,
}

/// The clock that is used.
enum Source {
    /// Keys are trusted.
    Effective {
        clock: Arc<EffectiveClock>,
        file: TimeFile,
    },
    /// No keys are trusted.
    Unsigned(Arc<UnsignedClock>),
}

/// When the time is stored: its file also says whether the process stopped cleanly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The process continues.
    Running,
    /// The process stops.
    Stopping,
}

impl Timekeeping {
    /// Starts with what an earlier run has stored in `state_dir`. Also returns what `time.json`
    /// contains about licenses.
    #[must_use]
    pub fn start(
        machine: Arc<dyn Clock>,
        are_keys_required: bool,
        state_dir: &Path,
        metrics: Arc<Metrics>,
    ) -> (Self, Remembered) {
        let mut remembered = Remembered::default();
        let source = if are_keys_required {
            let file = TimeFile::in_directory(state_dir);
            let kept = file.read(&metrics);
            let believed = kept.as_ref().map(|kept| &kept.believed);
            let (clock, noticed) = EffectiveClock::start(machine, believed);
            events::log(&noticed);
            remembered = kept.map(|kept| kept.remembered).unwrap_or_default();
            let clock = Arc::new(clock);
            Source::Effective { clock, file }
        } else {
            Source::Unsigned(Arc::new(UnsignedClock::start(machine)))
        };
        let time = Self {
            source,
            metrics,
            trouble: ArcSwapOption::empty(),
        };
        (time, remembered)
    }

    /// The time used for all decisions.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        match &self.source {
            Source::Effective { clock, .. } => clock.clone(),
            Source::Unsigned(clock) => clock.clone(),
        }
    }

    /// The same time, for what the license grants: see [`PlausibleTime`].
    #[must_use]
    pub fn plausible(&self) -> PlausibleTime {
        match &self.source {
            Source::Effective { clock, .. } => clock.plausible(),
            Source::Unsigned(clock) => PlausibleTime::exact(clock.now()),
        }
    }

    /// The effective time; `None` where no keys are trusted.
    #[must_use]
    pub fn effective(&self) -> Option<&Arc<EffectiveClock>> {
        match &self.source {
            Source::Effective { clock, .. } => Some(clock),
            Source::Unsigned(_) => None,
        }
    }

    fn unsigned(&self) -> Option<&UnsignedClock> {
        match &self.source {
            Source::Effective { .. } => None,
            Source::Unsigned(clock) => Some(clock),
        }
    }

    /// The time stated in a request file when it is written.
    #[must_use]
    pub fn written_at(&self) -> DateTime<Utc> {
        match &self.source {
            Source::Effective { clock, .. } => clock.written_at(),
            Source::Unsigned(clock) => clock.now(),
        }
    }

    /// A signed response proves the time. Our request was sent when the process had been running
    /// for `sent`.
    #[must_use = "calls recorded with a time in the future must be corrected if the time was set"]
    pub(super) fn prove(&self, signed: DateTime<Utc>, sent: Duration) -> bool {
        self.was_set(|clock| clock.prove(signed, clock.running().saturating_sub(sent)))
    }

    /// A signed answer was imported from a file. Returns whether it has set the time.
    #[must_use = "calls recorded in the future must be corrected if the time was set"]
    pub(super) fn answer(&self, signed: DateTime<Utc>) -> bool {
        self.was_set(|clock| clock.answer(signed))
    }

    /// A validation was attempted, with any result. Returns whether that has set the time.
    #[must_use = "calls recorded in the future must be corrected if the time was set"]
    pub(super) fn validation_tried(&self) -> bool {
        self.was_set(EffectiveClock::validation_tried)
    }

    /// Reads the machine's clocks. Returns whether there were notable events, which are logged.
    #[must_use = "the standing may have changed"]
    pub(super) fn observe(&self) -> bool {
        self.was_set(EffectiveClock::observe)
    }

    fn was_set(&self, change: impl FnOnce(&EffectiveClock) -> Vec<ClockEvent>) -> bool {
        let noticed = self.effective().map(|clock| change(clock));
        let noticed = noticed.unwrap_or_default();
        events::log(&noticed);
        !noticed.is_empty()
    }

    /// A signed document that was created at `signed` was found: the time is no earlier than that.
    pub(super) fn learn(&self, signed: DateTime<Utc>) {
        if let Some(clock) = self.effective() {
            clock.learn(signed);
        }
    }

    /// An earlier run has stored this high-water mark together with this evidence.
    pub(super) fn restore(
        &self,
        mark: Option<&Mark>,
        evidence: &Evidence,
        policy: &Policy,
        remembered: &Remembered,
    ) {
        match &self.source {
            Source::Effective { clock, file } => {
                let signed = evidence.newest_signed_at();
                if signed.is_some() && file.was_removed(remembered) {
                    tracing::error!(
                        security = true,
                        "time.json is missing although there is a signed license; the file may \
                         have been removed"
                    );
                    self.metrics.security_event();
                }
                // An unsigned license at least states when its grace period began.
                let grace = evidence
                    .grace_started_at
                    .map(Mark::unsigned)
                    .map(Mark::as_claim);
                let mark = mark.copied().or(grace);
                events::log(&clock.restore(mark.as_ref(), signed));
            }
            Source::Unsigned(clock) => clock.restore(evidence, policy),
        }
    }

    /// The time until which an earlier process ran without keys, according to the local copy.
    pub(super) fn note_ran_until(&self, instant: Option<DateTime<Utc>>) {
        if let Some(clock) = self.unsigned() {
            clock.note_ran_until(instant);
        }
    }

    /// The high-water mark of the effective time, for the local copy.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.effective().map(|clock| clock.guard().mark())
    }

    /// The current time if no keys are trusted, for the local copy.
    pub(super) fn unsigned_now(&self) -> Option<DateTime<Utc>> {
        self.unsigned().map(Clock::now)
    }

    /// The machine's clocks at the start of a call that can confirm the license; `None` if keys are
    /// trusted.
    #[must_use]
    pub fn wall_reading(&self) -> Option<WallReading> {
        self.unsigned().map(UnsignedClock::reading)
    }

    /// The time at which such a call, which began at `begun`, ends. It takes effect with
    /// [`super::Knowledge::note_confirmation_tried`], which must not be called before the result of
    /// the call is known: otherwise the site would lapse in between.
    #[must_use]
    pub fn now_when_tried(&self, begun: Option<WallReading>) -> DateTime<Utc> {
        match (&self.source, begun) {
            (Source::Unsigned(clock), Some(begun)) => clock.now_when_tried(begun),
            (Source::Unsigned(clock), None) => clock.now(),
            (Source::Effective { clock, .. }, _) => clock.now(),
        }
    }

    /// A call that can confirm the license was tried, and began at `begun`. Returns whether that
    /// has set the time.
    #[must_use = "the standing may have changed"]
    pub(super) fn confirmation_tried(&self, begun: Option<WallReading>) -> bool {
        let (Some(clock), Some(begun)) = (self.unsigned(), begun) else {
            return false;
        };
        let ahead = clock.tried(begun);
        if let Some(ahead) = ahead {
            let minutes = ahead.num_minutes();
            tracing::info!(minutes, "the wall clock is trusted again after its jump");
        }
        ahead.is_some()
    }

    /// Reads the wall clock if no keys are trusted; returns by how much it has jumped ahead.
    pub fn observe_wall(&self) -> Option<TimeDelta> {
        self.unsigned().and_then(UnsignedClock::observe)
    }

    /// Whether the time is waiting for one attempted validation.
    #[must_use]
    pub fn awaits_validation(&self) -> bool {
        match &self.source {
            Source::Effective { clock, .. } => clock.guard().awaits_validation(),
            Source::Unsigned(clock) => clock.ahead().is_some(),
        }
    }

    /// How far the wall clock is ahead of the time used for decisions; negative means behind.
    /// `None` if the wall clock itself is used.
    #[must_use]
    pub fn wall_ahead(&self) -> Option<TimeDelta> {
        match &self.source {
            Source::Effective { clock, .. } => Some(clock.guard().wall_ahead()),
            Source::Unsigned(clock) => clock.ahead(),
        }
    }

    /// Writes `time.json`, with what is remembered about licenses. Returns whether the next start
    /// can use it; `None` while there is no time to store.
    pub(super) async fn write_file(
        &self,
        occasion: Occasion,
        remembered: Remembered,
    ) -> Option<bool> {
        let Source::Effective { clock, file } = &self.source else {
            return None;
        };
        if !clock.may_be_kept() {
            return None;
        }
        let content = || KeptTime {
            believed: match occasion {
                Occasion::Running => clock.believed(),
                Occasion::Stopping => clock.stopped(),
            },
            remembered,
        };
        Some(file.write(content).await)
    }

    /// The mark in the database. An unreadable one counts as missing. Others can write there, so
    /// it is only a claim.
    ///
    /// # Errors
    /// If the database returns an error.
    pub(super) async fn load_mark(db: &impl ConnectionTrait) -> Result<Option<Mark>, StoreError> {
        mark_row::load(db).await
    }

    /// Stores the mark in the database. Returns whether the database has kept it.
    pub(super) async fn store_mark(&self, store: &Store) -> bool {
        let Some(clock) = self.effective() else {
            return true;
        };
        match store.within(mark_row::store(store, clock)).await {
            Ok(stored) => stored == Stored::Yes,
            // The next attempt is in a few minutes, and the file has the time.
            Err(error) => {
                tracing::debug!(%error, "failed to store the effective time in the database");
                true
            }
        }
    }

    /// Why the effective time cannot be stored reliably; `None` if it can, and if no keys are
    /// trusted.
    #[must_use]
    pub fn trouble(&self) -> Option<Arc<String>> {
        self.trouble.load_full()
    }

    /// Records whether the effective time can be stored. Preventing that can reset the time, so
    /// each new problem is a security event.
    pub(super) fn note_trouble(&self, trouble: Option<String>) {
        let trouble = trouble.map(Arc::new);
        let before = self.trouble.swap(trouble.clone());
        match (before, trouble) {
            (before, Some(trouble)) if before.as_ref() != Some(&trouble) => {
                tracing::error!(security = true, %trouble, "the effective time cannot be stored \
                    reliably");
                self.metrics.security_event();
            }
            (Some(_), None) => tracing::info!("the effective time is stored reliably again"),
            _ => {}
        }
    }
}

/// Waits until the clock shows this instant, even if the clock is set in the meantime.
async fn sleep_until(clock: &dyn Clock, was_set: &Notify, instant: DateTime<Utc>) {
    while let Ok(wait) = (instant - clock.now()).to_std()
        && !wait.is_zero()
    {
        tokio::select! {
            () = clock.sleep(wait.min(MAX_SLEEP)) => {}
            () = was_set.notified() => {}
        }
    }
}
