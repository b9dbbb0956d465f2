//! What is looked at for every check: all decisions, and until when they hold.

use std::time::Duration;

use hashbrown::HashMap;
use license_core::feature::CORE_FEATURES;
use license_core::usage::Resource;

use crate::decision::{Decision, Reason};

/// Decisions from now on, in order of time; never empty.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    steps: Vec<Step>,
    /// The license's tier.
    pub(crate) tier: Option<String>,
    /// `None` where nothing is known; a limit that is `None` is no limit.
    limits: Option<HashMap<String, Option<u64>>>,
}

/// What a license allows at most of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So many.
    AtMost(u64),
    /// As many as one likes.
    Unlimited,
    /// Nobody has said yet.
    Unknown,
}

/// Decisions that hold until an instant.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The last instant, on the clock of [`crate::clock::ticks`]; `None` for
    /// ever.
    pub(crate) until: Option<Duration>,
    /// Every feature that is known.
    pub(crate) features: HashMap<String, Decision>,
    /// Any other feature.
    pub(crate) otherwise: Decision,
}

impl Table {
    /// A table of `first` and what comes after it.
    pub(crate) fn new(
        first: Step,
        then: impl IntoIterator<Item = Step>,
        tier: Option<String>,
        limits: Option<HashMap<String, Option<u64>>>,
    ) -> Self {
        let mut steps = vec![first];
        steps.extend(then);
        Self {
            steps,
            tier,
            limits,
        }
    }

    /// What holds before anything is known: core features are available, and
    /// `otherwise` is what holds for all others.
    pub(crate) fn unknown(otherwise: Decision) -> Self {
        let core = CORE_FEATURES.map(|key| (key.to_owned(), Decision::yes(Reason::Core)));
        let only = Step {
            until: None,
            features: core.into_iter().collect(),
            otherwise,
        };
        Self::new(only, [], None, None)
    }

    /// The decision about `feature` at `now`.
    pub(crate) fn decide(&self, feature: &str, now: Duration) -> Decision {
        let mut steps = self.steps.iter();
        let step = steps.find(|step| step.until.is_none_or(|until| now <= until));
        let Some(step) = step.or(self.steps.last()) else {
            return Decision::no(Reason::NoContact);
        };
        step.features
            .get(feature)
            .copied()
            .unwrap_or(step.otherwise)
    }

    /// The license's limit.
    pub(crate) fn limit(&self, resource: Resource) -> Limit {
        let limits = self.limits.as_ref();
        match limits.and_then(|limits| limits.get(resource.as_str())) {
            Some(Some(limit)) => Limit::AtMost(*limit),
            Some(None) => Limit::Unlimited,
            None => Limit::Unknown,
        }
    }
}
