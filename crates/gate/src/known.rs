//! What a gate knows, and what follows from it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::announcement::{Announcement, Envelope, held_against};
use license_core::standing::Standing;
use license_core::time_guard::{Readings, TimeGuard};

use crate::announced::{Announced, TooLarge, check_size};
use crate::clock::{Ticks, in_ticks};
use crate::decision::{Decision, Reason};
use crate::table::{Contact, Step, Table};
use crate::trusted_keys::{TrustedKeys, Unproven};
use crate::without_contact::WithoutContact;

/// How much the clocks may disagree before deadlines are worked out again: 100 ms.
const MAX_DRIFT: Ticks = 100_000_000;

/// What a gate knows.
pub(crate) struct Known {
    policy: WithoutContact,
    contact_timeout: Ticks,
    keys: Option<TrustedKeys>,
    said: Option<Said>,
    before_contact: Announced,
    /// The time, as verified licenses tell it.
    guard: Option<TimeGuard>,
    /// When contact was lost, on the boot clock; `None` while there is.
    lost_at: Option<Duration>,
    /// What time it was when a table was made last, and until when that holds.
    published: Option<Published>,
}

/// What the License Client has said last.
struct Said {
    announced: Announced,
    /// What time it was …
    now: DateTime<Utc>,
    /// … when the machine had been running for so long.
    since_boot: Duration,
}

struct Published {
    moment: Option<DateTime<Utc>>,
    at: Ticks,
    until: Ticks,
}

impl Known {
    /// Nothing is known, and there is no contact.
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

    /// The License Client has said something. Where there are keys, only that
    /// counts which is signed; answers why nothing is.
    ///
    /// # Errors
    /// [`TooLarge`], and then nothing of it counts.
    pub(crate) fn hear(
        &mut self,
        announcement: Announcement,
        envelope: &Envelope,
        readings: Readings,
    ) -> Result<Option<Unproven>, TooLarge> {
        check_size(&announcement)?;
        let since_boot = readings.since_boot;
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
            // From the client's own time on: what the guard adds is seen when
            // the table is made.
            announcement = held_against(&announcement, license, envelope.now);
        }
        let announcement = announcement.with_core();
        self.said = Some(Said {
            announced: Announced::new(&announcement),
            now: envelope.now,
            since_boot,
        });
        self.lost_at = None;
        // No license is no reason to complain.
        Ok(unproven.filter(|_| announcement.standing != Standing::Unlicensed.as_str()))
    }

    /// Contact is lost; answers whether there was any.
    pub(crate) fn lose_contact(&mut self, readings: &Readings) -> bool {
        let was_there = self.lost_at.is_none();
        self.lost_at.get_or_insert(readings.since_boot);
        was_there
    }

    /// Whether there is contact.
    pub(crate) fn is_in_contact(&self) -> bool {
        self.lost_at.is_none()
    }

    /// The table that follows, if it is another one than the last: a deadline has passed,
    /// the machine has been asleep, or its wall clock has been set. To be asked for
    /// every second or so.
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

    /// What follows, when the clocks show `readings`, and the one that decisions
    /// are checked by shows `at`.
    pub(crate) fn table(&mut self, readings: &Readings, at: Ticks) -> Table {
        let moment = self.moment(readings);
        self.table_at(moment, readings, at)
    }

    /// What time it is for the license; `None` while nothing is known.
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
        let terms = (announced.tier.clone(), announced.limits);
        let table = Table::new(rows, steps.collect(), contact, terms, at);
        self.published = Some(Published {
            moment,
            at,
            until: table.until(),
        });
        table
    }
}

/// The time when nothing was known before: what the wall clock shows, and no
/// earlier than what is signed. A recorded license that has ended does not
/// begin anew with every start of the gateway.
fn first_time(signed: DateTime<Utc>, readings: Readings) -> TimeGuard {
    TimeGuard::start(None, None, None, signed, readings).0
}

/// From one instant to another, in ticks.
fn distance(from: DateTime<Utc>, to: DateTime<Utc>) -> Ticks {
    let far = if to > from { Ticks::MAX } else { Ticks::MIN };
    (to - from).num_nanoseconds().unwrap_or(far)
}

#[cfg(test)]
mod tests;
