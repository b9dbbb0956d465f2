//! Hooks that observe decisions.

use crate::decision::Decision;

/// Called for every decision of a gate, for metrics and logs: see
/// [`GateBuilder::hook`](crate::GateBuilder::hook).
///
/// It runs on the calling thread, so it has to be fast. It cannot change a decision.
pub trait Hook: Send + Sync + 'static {
    /// Called after a decision. `feature` is `None` if a layer by path decided without
    /// one.
    fn decided(&self, feature: Option<&str>, decision: Decision);
}
