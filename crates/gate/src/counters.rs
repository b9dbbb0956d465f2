//! Counts decisions by feature and reason.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::decision::{Decision, Reason};
use crate::hook::Hook;

/// Maximum number of features that are counted individually.
const MAX_FEATURES: usize = 1000;
/// The name under which all others are counted.
const OTHERS: &str = "(other)";
/// The name under which decisions without a feature are counted.
const NO_FEATURE: &str = "(none)";

/// Counts decisions by feature and reason: a [`Hook`] for metrics.
///
/// ```
/// use license_gate::{Counters, Gate, Reason};
///
/// let counters = Counters::default();
/// let gate = Gate::builder("http://license-client:8010").hook(counters.clone());
/// let gate = gate.fixed(["module.map_view"]);
/// gate.check("module.map_view");
/// assert_eq!(counters.get("module.map_view", Reason::Licensed), 1);
/// ```
///
/// The first 1,000 features are counted individually, all others as `(other)`.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<RwLock<BTreeMap<Box<str>, Counts>>>);

type Counts = [AtomicU64; Reason::ALL.len()];

impl Counters {
    /// The number of decisions about a feature with this reason.
    #[must_use]
    pub fn get(&self, feature: &str, reason: Reason) -> u64 {
        let counts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let counts = counts.get(feature);
        counts.map_or(0, |counts| counts[reason as usize].load(Ordering::Relaxed))
    }

    /// All nonzero counts, by feature and reason.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Reason, u64)> {
        let counts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let all = counts.iter().flat_map(|(feature, counts)| {
            let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
            let reasons = Reason::ALL.iter().copied().zip(counts);
            reasons.map(|(reason, count)| (feature.to_string(), reason, count))
        });
        all.filter(|(.., count)| *count > 0).collect()
    }

    fn add(&self, feature: &str, reason: Reason) -> bool {
        let counts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(counts) = counts.get(feature) else {
            return false;
        };
        counts[reason as usize].fetch_add(1, Ordering::Relaxed);
        true
    }
}

impl Hook for Counters {
    fn decided(&self, feature: Option<&str>, decision: Decision) {
        let feature = feature.unwrap_or(NO_FEATURE);
        if self.add(feature, decision.reason) {
            return;
        }
        let mut counts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_full = counts.len() >= MAX_FEATURES;
        let name = if is_full { OTHERS } else { feature };
        let counts = counts.entry(name.into()).or_default();
        counts[decision.reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_counted_and_memory_is_bounded() {
        let counters = Counters::default();
        for number in 0..5000 {
            let decision = Decision::no(Reason::NotInLicense);
            counters.decided(Some(&format!("feature {number}")), decision);
        }
        counters.decided(Some("feature 7"), Decision::yes(Reason::Licensed));
        assert_eq!(counters.get("feature 7", Reason::NotInLicense), 1);
        assert_eq!(counters.get("feature 7", Reason::Licensed), 1);
        assert_eq!(counters.get(OTHERS, Reason::NotInLicense), 4000);
        assert_eq!(counters.all().len(), 1002);
    }
}
