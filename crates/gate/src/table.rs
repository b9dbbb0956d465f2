//! The data read by every check: all decisions, and how long they are valid.

use std::sync::Arc;

use crate::announced::{Limit, Limits, Rows, UNLISTED};
use crate::clock::Ticks;
use crate::decision::{Decision, Reason};
use crate::without_contact::WithoutContact;

/// The decisions from a given instant.
pub(crate) struct Table {
    rows: Arc<Rows>,
    /// The last instant at which `current` is valid.
    until: Ticks,
    /// One decision per row.
    current: Arc<[Decision]>,
    /// In chronological order; never empty.
    steps: Vec<Step>,
    contact: Contact,
    tier: Option<Arc<str>>,
}

/// Decisions that are valid until an instant.
#[derive(Debug)]
pub(crate) struct Step {
    /// The last instant; [`Ticks::MAX`] if there is none.
    pub(crate) until: Ticks,
    /// One decision per row.
    pub(crate) decisions: Arc<[Decision]>,
    pub(crate) limits: Arc<Limits>,
}

/// The state of the connection, and what applies without one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contact {
    /// Whether there has been an announcement.
    pub(crate) is_known: bool,
    /// When contact was lost; `None` while there is contact.
    pub(crate) lost_at: Option<Ticks>,
    pub(crate) policy: WithoutContact,
    /// The time without contact after which the policy applies.
    pub(crate) timeout: Ticks,
}

impl Contact {
    /// Whether the policy applies at `now`; if so, returns when contact was lost.
    fn is_over(&self, now: Ticks, silent_since: Option<Ticks>) -> Option<Ticks> {
        let lost_at = self.lost_at.or(silent_since)?;
        (now.saturating_sub(lost_at) > self.timeout).then_some(lost_at)
    }

    /// The last instant before the policy applies.
    fn ends(&self) -> Ticks {
        match (self.policy, self.lost_at) {
            (WithoutContact::KeepUntilEnd, _) | (_, None) => Ticks::MAX,
            (_, Some(lost_at)) => lost_at.saturating_add(self.timeout),
        }
    }
}

impl Table {
    /// The table at `now`.
    pub(crate) fn new(
        rows: Arc<Rows>,
        steps: Vec<Step>,
        contact: Contact,
        tier: Option<Arc<str>>,
        now: Ticks,
    ) -> Self {
        let mut table = Self {
            rows,
            until: Ticks::MIN,
            current: Arc::new([]),
            steps,
            contact,
            tier,
        };
        let count = table.steps.first().map_or(1, |step| step.decisions.len());
        table.current = (0..count).map(|row| table.at(row, now, None)).collect();
        let ends = [table.step(now).until, contact.ends()].into_iter();
        table.until = ends.filter(|end| *end >= now).min().unwrap_or(Ticks::MAX);
        table
    }

    /// The decision about `feature` at `now`. The follower is known to be alive until
    /// `fresh_until`; after that, `silent_since` says when it was last alive.
    #[inline]
    pub(crate) fn decide(
        &self,
        feature: &str,
        now: Ticks,
        fresh_until: Ticks,
        silent_since: impl FnOnce() -> Ticks,
    ) -> Decision {
        let row = self.rows.get(feature).map_or(UNLISTED, |row| *row as usize);
        if now <= self.until && now <= fresh_until {
            return self.current.get(row).copied().unwrap_or(Decision::NONE);
        }
        self.at(row, now, (now > fresh_until).then(silent_since))
    }

    /// Computes the decision of a row at `now`.
    #[cold]
    fn at(&self, row: usize, now: Ticks, silent_since: Option<Ticks>) -> Decision {
        let (held_at, lost_at) = self.held_at(now, silent_since);
        let decision = self.step(held_at).decisions.get(row).copied();
        let decision = decision.unwrap_or(Decision::NONE);
        let is_denied = self.contact.policy == WithoutContact::Deny && lost_at.is_some();
        match is_denied && decision.available && decision.reason != Reason::Core {
            true => Decision::no(Reason::NoContact),
            false => decision,
        }
    }

    /// The instant whose state applies at `now`, and when contact was lost, if the policy applies.
    fn held_at(&self, now: Ticks, silent_since: Option<Ticks>) -> (Ticks, Option<Ticks>) {
        let lost_at = self.contact.is_over(now, silent_since);
        match (self.contact.policy, lost_at) {
            (WithoutContact::Allow, Some(lost_at)) => (lost_at, Some(lost_at)),
            (_, lost_at) => (now, lost_at),
        }
    }

    fn step(&self, now: Ticks) -> &Step {
        static NOTHING: std::sync::LazyLock<Step> = std::sync::LazyLock::new(|| Step {
            until: Ticks::MAX,
            decisions: Arc::new([]),
            limits: Arc::default(),
        });
        let step = self.steps.iter().find(|step| now <= step.until);
        step.or(self.steps.last()).unwrap_or(&NOTHING)
    }

    /// The last instant at which the decisions do not change.
    pub(crate) fn until(&self) -> Ticks {
        self.until
    }

    /// Whether the License Client or the license lists the feature.
    pub(crate) fn names(&self, feature: &str) -> bool {
        self.rows.contains_key(feature)
    }

    /// The number of listed features.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The state of the connection.
    pub(crate) fn contact(&self) -> &Contact {
        &self.contact
    }

    /// The license's tier.
    pub(crate) fn tier(&self) -> Option<&str> {
        self.tier.as_deref()
    }

    /// The license's limit at `now`. Without contact, it stays with the decisions: see
    /// [`Table::decide`] for `silent_since`.
    pub(crate) fn limit(&self, key: &str, now: Ticks, silent_since: Option<Ticks>) -> Limit {
        let (held_at, _) = self.held_at(now, silent_since);
        self.step(held_at).limits.get(key)
    }
}
