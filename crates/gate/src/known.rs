//! What a gate knows, and what follows from it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hashbrown::HashMap;
use license_core::announcement::{self, Announcement, Envelope, held_against};
use license_core::standing::Standing;
use license_core::time_guard::{Readings, TimeGuard};

use crate::decision::{Decision, Reason};
use crate::table::{Step, Table};
use crate::trusted_keys::{TrustedKeys, Unproven};

/// What a gate does when there is no contact with the License Client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutContact {
    /// What the License Client has said holds until the end that it has named:
    /// the end of grace, which is signed, or of the license. A License Client
    /// that is restarted, or away for a day, is not noticed; nothing is
    /// stretched. Before the first contact only core features are available.
    #[default]
    KeepUntilEnd,
    /// Licensed features are off when contact has been lost for longer than
    /// the gateway's patience, and before the first contact.
    Deny,
    /// What was available when contact was lost stays available, without an
    /// end; before the first contact everything is. For gateways of which the
    /// vendor prefers that they serve too much rather than too little.
    Allow,
}

/// What a gate knows.
#[derive(Debug)]
pub(crate) struct Known {
    without_contact: WithoutContact,
    patience: Duration,
    keys: Option<TrustedKeys>,
    told: Option<Told>,
    /// The time, as verified licenses tell it.
    guard: Option<TimeGuard>,
    /// When contact was lost, on the boot clock; `None` while there is.
    lost_at: Option<Duration>,
}

/// What the License Client has said last.
#[derive(Debug)]
struct Told {
    announcement: Announcement,
    /// What time it was …
    now: DateTime<Utc>,
    /// … when the machine had been running for so long.
    since_boot: Duration,
}

impl Known {
    /// Nothing is known, and there is no contact.
    pub(crate) fn nothing(
        without_contact: WithoutContact,
        patience: Duration,
        keys: Option<TrustedKeys>,
        readings: &Readings,
    ) -> Self {
        Self {
            without_contact,
            patience,
            keys,
            told: None,
            guard: None,
            lost_at: Some(readings.since_boot),
        }
    }

    /// The License Client has said something. Where there are keys, only that
    /// counts which is signed; answers why nothing is.
    pub(crate) fn hear(
        &mut self,
        announcement: Announcement,
        envelope: &Envelope,
        readings: Readings,
    ) -> Option<Unproven> {
        let mut told = Told {
            announcement,
            now: envelope.now,
            since_boot: readings.since_boot,
        };
        let unproven = self.keys.as_mut().and_then(|keys| {
            let (license, unproven) = match keys.verify(envelope.signed.as_ref()) {
                Ok(license) => (Some(license), None),
                Err(why) => (None, Some(why)),
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
            told.announcement = held_against(&told.announcement, license, told.now);
            unproven
        });
        told.announcement = told.announcement.with_core();
        self.told = Some(told);
        self.lost_at = None;
        // No license is no reason to complain.
        let licensed = self.told.as_ref();
        unproven.filter(|_| {
            licensed.is_some_and(|told| told.announcement.standing != Standing::Unlicensed.as_str())
        })
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

    /// Whether the License Client has ever said anything.
    pub(crate) fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// What follows, when the clocks show `readings`, and the one that decisions
    /// are checked by shows `at`.
    /// To be asked for again every second or so: the machine may have been
    /// asleep, and its wall clock may have been set.
    pub(crate) fn table(&mut self, readings: &Readings, at: Duration) -> Table {
        let Some(told) = &self.told else {
            return Table::unknown(match self.without_contact {
                WithoutContact::Allow => Decision::yes(Reason::NoContact),
                _ => Decision::no(Reason::NoContact),
            });
        };
        if let Some(guard) = &mut self.guard {
            *guard = guard.observed(readings.clone()).0;
        }
        let passed = |since_boot| delta(readings.since_boot.saturating_sub(since_boot));
        let told_now = add(told.now, passed(told.since_boot));
        let proven = self.guard.as_ref().map(|guard| guard.now(readings.running));
        let now = proven.map_or(told_now, |proven| proven.max(told_now));

        let lost = self.lost_at.filter(|lost_at| {
            let lost_for = readings.since_boot.saturating_sub(*lost_at);
            lost_for > self.patience && self.without_contact != WithoutContact::KeepUntilEnd
        });
        let Some(lost_at) = lost else {
            return table(&told.announcement, now, at);
        };
        let denies = self.without_contact == WithoutContact::Deny;
        let announcement = if denies {
            denied(&told.announcement)
        } else {
            let then = delta(lost_at.saturating_sub(told.since_boot));
            held_for_ever(&told.announcement, add(told.now, then))
        };
        table(&announcement, now, at)
    }
}

/// The time when nothing was known before: what the wall clock shows, and no
/// earlier than what is signed. A recorded license that has ended does not
/// begin anew with every start of the gateway.
fn first_time(signed: DateTime<Utc>, readings: Readings) -> TimeGuard {
    TimeGuard::start(None, None, None, signed, readings).0
}

/// The table of an announcement, when it is `now`, and `at` on the clock that
/// decisions are checked by.
fn table(announcement: &Announcement, now: DateTime<Utc>, at: Duration) -> Table {
    let later = || announcement.then.iter().filter(|later| later.after >= now);
    let instant = |after: DateTime<Utc>| {
        let wait = (after - now).to_std().unwrap_or_default();
        at.checked_add(wait)
    };
    let mut ends = later().map(|later| instant(later.after));
    let (_, features, unlisted) = announcement.state(now);
    let first = step(ends.next().flatten(), features, unlisted);
    let mut then = Vec::new();
    for later in later() {
        let until = ends.next().flatten();
        then.push(step(until, &later.features, &later.unlisted));
    }
    let limits = announcement.limits.clone().into_iter().collect();
    let tier = announcement.tier.clone();
    Table::new(first, then, tier, Some(limits))
}

type Features = std::collections::BTreeMap<String, announcement::Told>;

fn step(until: Option<Duration>, features: &Features, unlisted: &announcement::Told) -> Step {
    let decided = features
        .iter()
        .map(|(key, told)| (key.clone(), told.into()));
    Step {
        until,
        features: decided.collect::<HashMap<_, _>>(),
        otherwise: unlisted.into(),
    }
}

/// The same site without licensed features.
fn denied(announcement: &Announcement) -> Announcement {
    let mut denied = announcement.clone();
    let later = denied.then.iter_mut().map(|later| &mut later.features);
    for features in std::iter::once(&mut denied.features).chain(later) {
        for told in features.values_mut() {
            if told.available && told.reason != Reason::Core.code() {
                told.available = false;
                Reason::NoContact.code().clone_into(&mut told.reason);
            }
        }
    }
    denied
}

/// The same site, for which nothing ends that was so at `at`.
fn held_for_ever(announcement: &Announcement, at: DateTime<Utc>) -> Announcement {
    let (standing, features, unlisted) = announcement.state(at);
    Announcement {
        standing: standing.to_owned(),
        features: features.clone(),
        unlisted: unlisted.clone(),
        then: Vec::new(),
        ..announcement.clone()
    }
}

fn add(at: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    at.checked_add_signed(by).unwrap_or(at)
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
