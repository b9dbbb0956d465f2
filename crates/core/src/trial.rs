//! Trials: licenses for trying the product out, which sites start themselves with a code.
//!
//! An installation starts one trial, and gets the same license if it asks again and proves that it is
//! the site that started it: ids are public, and a license key is a secret. A code starts a
//! limited number of trials, in all and on each day. Reinstalling gives an installation another id,
//! so only the limits of the code bound how many trials one site can start.

use chrono::{DateTime, NaiveDate, Utc};

use crate::plan::Plan;
use crate::trial_secret::TrialSecret;

/// Maximum number of trials that a code starts.
pub const MAX_STARTS: u32 = 1_000_000;

/// How many trials may be started, with a code or without one, and how many were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Maximum number of trials; `None` if there is only a limit for each day.
    pub max: Option<u32>,
    /// Maximum number of trials on one day (UTC).
    pub max_a_day: u32,
    /// The last instant at which a trial may be started; `None` if there is no end.
    pub ends_at: Option<DateTime<Utc>>,
    /// Whether the vendor has withdrawn it.
    pub is_withdrawn: bool,
    /// The number of trials so far.
    pub started: u32,
    /// The day on which one was last started.
    pub day: Option<NaiveDate>,
    /// The number of trials on that day.
    pub started_on_day: u32,
}

/// Why no trial is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrialRefusal {
    /// The code was withdrawn.
    #[error("the trial code was withdrawn")]
    Withdrawn,
    /// The end of the code has passed.
    #[error("the trial code ended on {}", .0.format("%Y-%m-%d"))]
    Ended(DateTime<Utc>),
    /// All trials of the code were started.
    #[error("all trials of the trial code have been started")]
    UsedUp,
    /// All trials of the day were started.
    #[error("no more trials can be started today")]
    DayUsedUp,
    /// The installation has started a trial on another machine.
    #[error("this installation has already started a trial on another machine")]
    OtherMachine,
    /// The installation has started a trial, and nothing proves that the same site asks again.
    #[error(
        "this installation has already started a trial; only the site that started the trial \
         receives the license key"
    )]
    NotProven,
    /// The license of the trial is no longer a trial.
    #[error("this trial was converted to a regular license")]
    Converted,
    /// The seat of the trial was given back or freed.
    #[error("the seat of this trial was given back or freed")]
    GivenUp,
}

impl TrialRefusal {
    /// Whether the same request may succeed on another day.
    #[must_use]
    pub fn is_for_today(self) -> bool {
        self == Self::DayUsedUp
    }
}

impl Allowance {
    /// The allowance after another trial is started at `now`.
    ///
    /// # Errors
    /// The first [`TrialRefusal`] that applies.
    pub fn start(self, now: DateTime<Utc>) -> Result<Self, TrialRefusal> {
        if self.is_withdrawn {
            return Err(TrialRefusal::Withdrawn);
        }
        if let Some(end) = self.ends_at.filter(|end| *end < now) {
            return Err(TrialRefusal::Ended(end));
        }
        if self.max.is_some_and(|max| max <= self.started) {
            return Err(TrialRefusal::UsedUp);
        }
        // A clock that went back does not begin a day again.
        let today = Some(now.date_naive()).max(self.day);
        let on_day = match today == self.day {
            true => self.started_on_day,
            false => 0,
        };
        if self.max_a_day <= on_day {
            return Err(TrialRefusal::DayUsedUp);
        }
        Ok(Self {
            started: self.started.saturating_add(1),
            day: today,
            started_on_day: on_day.saturating_add(1),
            ..self
        })
    }
}

/// A trial that an installation has started.
#[derive(Clone, Copy, Debug)]
pub struct Started<'a> {
    /// The machine on which it was started.
    pub hardware_id: &'a str,
    /// The hash of the secret that the site sent then; `None` if it sent none.
    pub secret_hash: Option<&'a str>,
    /// Whether its license is still a trial.
    pub is_trial: bool,
    /// Whether its seat was given back or freed.
    pub is_given_up: bool,
}

/// A request for a trial by an installation that has started one.
#[derive(Clone, Copy, Debug)]
pub struct Repeated<'a> {
    /// The machine that asks.
    pub hardware_id: &'a str,
    /// The secret of the site.
    pub secret: Option<&'a TrialSecret>,
    /// Whether it has the code with which the trial was started. Codes are given to many customers,
    /// so it counts only for a trial without a secret.
    pub has_code: bool,
}

/// Whether an installation that has started a trial gets its license, and the key, again.
///
/// # Errors
/// The first [`TrialRefusal`] that applies.
pub fn again(started: &Started<'_>, asked: &Repeated<'_>) -> Result<(), TrialRefusal> {
    let is_proven = match started.secret_hash {
        Some(hash) => asked.secret.is_some_and(|secret| secret.hash() == hash),
        None => asked.has_code,
    };
    if !is_proven {
        return Err(TrialRefusal::NotProven);
    }
    if started.hardware_id != asked.hardware_id {
        return Err(TrialRefusal::OtherMachine);
    }
    match (started.is_trial, started.is_given_up) {
        (false, _) => Err(TrialRefusal::Converted),
        (true, true) => Err(TrialRefusal::GivenUp),
        (true, false) => Ok(()),
    }
}

/// Why a plan is not one for trials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATrial {
    /// It is not marked as one.
    #[error("it is not a plan for trials: it must have 'trial = true'")]
    Unmarked,
    /// Its licenses would never end.
    #[error("it has no duration, so its trials would never end")]
    Endless,
}

/// Checks whether licenses of a plan can be started as trials.
///
/// # Errors
/// [`NotATrial`].
pub fn check_plan(plan: &Plan) -> Result<(), NotATrial> {
    match (plan.trial, plan.duration) {
        (false, _) => Err(NotATrial::Unmarked),
        (true, None) => Err(NotATrial::Endless),
        (true, Some(_)) => Ok(()),
    }
}
