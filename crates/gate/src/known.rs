//! What a gate knows, and the decisions that follow from it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::announcement::{Announcement, Envelope, constrained_by};
use license_core::plausible_time::PlausibleTime;
use license_core::standing::Standing;
use license_core::time_guard::{Readings, TimeGuard};

use crate::announced::{Announced, TooLarge, check_size};
use crate::clock::{Ticks, in_ticks};
use crate::decision::{Decision, Reason};
use crate::table::{Contact, Step, Table};
use crate::trusted_keys::{TrustedKeys, Unproven};
use crate::without_contact::WithoutContact;

/// How far the clocks may diverge before deadlines are recomputed: 100 ms.
const MAX_DRIFT: Ticks = 100_000_000;

/// What a gate knows.
pub(crate) struct Known {
    policy: WithoutContact,
    contact_timeout: Ticks,
    keys: Option<TrustedKeys>,
    said: Option<Said>,
    before_contact: Announced,
    /// The time according to verified licenses.
    guard: Option<TimeGuard>,
    /// When contact was lost, on the boot clock; `None` while there is contact.
    lost_at: Option<Duration>,
    /// The time of the last table, and how long it is valid.
    published: Option<Published>,
}

/// The last announcement.
struct Said {
    announced: Announced,
    /// The announced time …
    now: DateTime<Utc>,
    /// … and the running time of the machine at that moment.
    since_boot: Duration,
}

struct Published {
    moment: Option<DateTime<Utc>>,
    at: Ticks,
    until: Ticks,
}

impl Known {
    /// Starts without an announcement and without contact.
    pub(crate) fn nothing(
        policy: WithoutContact,
        contact_timeout: Duration,
        keys: Option<TrustedKeys>,
        readings: &Readings,
    ) -> Self {
        let otherwise = match policy {
            WithoutContact::Allow => Decision::yes(Reason::NoContact),
            WithoutContact::KeepUntilEnd | WithoutContact::Deny => Decision::no(Reason::NoContact),
        };
        Self {
            policy,
            contact_timeout: in_ticks(contact_timeout),
            keys,
            said: None,
            before_contact: Announced::nothing(otherwise),
            guard: None,
            lost_at: Some(readings.since_boot),
            published: None,
        }
    }

    /// Handles an announcement. With keys, only the signed part counts; returns why
    /// nothing is signed.
    ///
    /// # Errors
    /// [`TooLarge`]; the announcement is then ignored.
    pub(crate) fn apply(
        &mut self,
        announcement: Announcement,
        envelope: &Envelope,
        readings: Readings,
    ) -> Result<Option<Unproven>, TooLarge> {
        check_size(&announcement)?;
        let (running, since_boot) = (readings.running, readings.since_boot);
        let mut announcement = announcement;
        let mut unproven = None;
        if let Some(keys) = &mut self.keys {
            let license = match keys.verify(envelope.signed.as_ref()) {
                Ok(license) => Some(license),
                Err(why) => {
                    unproven = Some(why);
                    None
                }
            };
            if let Some(license) = license {
                let signed = license.claims().iat;
                self.guard = Some(match &self.guard {
                    Some(guard) => guard.at_least(signed, readings),
                    None => first_time(signed, readings),
                });
            }
            // On the client's time, by which things end; the guard's contribution to ends is applied
            // when the table is built. By the guard alone, things start.
            let ours = self.guard.as_ref().map(|guard| guard.now(running));
            let ours = ours.unwrap_or(envelope.now);
            let now = PlausibleTime::between(ours, envelope.now);
            announcement = constrained_by(&announcement, license, now);
        }
        let announcement = announcement.with_core();
        self.said = Some(Said {
            announced: Announced::new(&announcement),
            now: envelope.now,
            since_boot,
        });
        self.lost_at = None;
        // Having no license is not an error.
        Ok(unproven.filter(|_| announcement.standing != Standing::Unlicensed.as_str()))
    }

    /// Contact was lost; returns whether there was any.
    pub(crate) fn lose_contact(&mut self, readings: &Readings) -> bool {
        let was_there = self.lost_at.is_none();
        self.lost_at.get_or_insert(readings.since_boot);
        was_there
    }

    /// Whether there is contact.
    pub(crate) fn is_in_contact(&self) -> bool {
        self.lost_at.is_none()
    }

    /// The new table, if it differs from the last one: a deadline has passed, the machine
    /// was suspended, or its wall clock was set. To be called about every second.
    pub(crate) fn changed_table(&mut self, readings: &Readings, at: Ticks) -> Option<Table> {
        let moment = self.moment(readings);
        let is_same = self.published.as_ref().is_some_and(|published| {
            let passed = match (published.moment, moment) {
                (Some(before), Some(now)) => distance(before, now),
                _ => at.saturating_sub(published.at),
            };
            let drift = passed.saturating_sub(at.saturating_sub(published.at));
            at <= published.until && drift.saturating_abs() <= MAX_DRIFT
        });
        (!is_same).then(|| self.table_at(moment, readings, at))
    }

    /// The table for the clock `readings`, with `at` on the clock used for decisions.
    pub(crate) fn table(&mut self, readings: &Readings, at: Ticks) -> Table {
        let moment = self.moment(readings);
        self.table_at(moment, readings, at)
    }

    /// The time for the license; `None` before the first announcement.
    fn moment(&mut self, readings: &Readings) -> Option<DateTime<Utc>> {
        let said = self.said.as_ref()?;
        let passed = readings.since_boot.saturating_sub(said.since_boot);
        let passed = TimeDelta::from_std(passed).unwrap_or(TimeDelta::MAX);
        let said_now = said.now.checked_add_signed(passed).unwrap_or(said.now);
        if let Some(guard) = &mut self.guard {
            *guard = guard.observed(readings.clone()).0;
        }
        let proven = self.guard.as_ref().map(|guard| guard.now(readings.running));
        Some(proven.map_or(said_now, |proven| proven.max(said_now)))
    }

    fn table_at(&mut self, moment: Option<DateTime<Utc>>, readings: &Readings, at: Ticks) -> Table {
        let said = self.said.as_ref().map(|said| &said.announced);
        let announced = said.unwrap_or(&self.before_contact);
        let states = announced.states.iter();
        let ends = announced.states.iter().skip(1).map(|state| state.after);
        let instant = |end: Option<Option<DateTime<Utc>>>| match (end.flatten(), moment) {
            (Some(end), Some(now)) => at.saturating_add(distance(now, end)),
            _ => Ticks::MAX,
        };
        let steps = states
            .zip(ends.map(Some).chain(std::iter::once(None)))
            .map(|(state, end)| Step {
                until: instant(end),
                decisions: state.decisions.clone(),
                limits: state.limits.clone(),
            });
        let lost_for = |lost_at| in_ticks(readings.since_boot.saturating_sub(lost_at));
        let contact = Contact {
            is_known: self.said.is_some(),
            lost_at: self
                .lost_at
                .map(|lost_at| at.saturating_sub(lost_for(lost_at))),
            policy: self.policy,
            timeout: self.contact_timeout,
        };
        let rows = announced.rows.clone();
        let tier = announced.tier.clone();
        let table = Table::new(rows, steps.collect(), contact, tier, at);
        self.published = Some(Published {
            moment,
            at,
            until: table.until(),
        });
        table
    }
}

/// The time when there is no earlier state: the wall clock, but no earlier than the
/// signed documents. A recorded license that has ended must not become valid again
/// when the gateway restarts.
fn first_time(signed: DateTime<Utc>, readings: Readings) -> TimeGuard {
    TimeGuard::start(None, None, None, signed, readings).0
}

/// The difference between two instants, in ticks.
fn distance(from: DateTime<Utc>, to: DateTime<Utc>) -> Ticks {
    let far = if to > from { Ticks::MAX } else { Ticks::MIN };
    (to - from).num_nanoseconds().unwrap_or(far)
}

#[cfg(test)]
mod tests;
