//! Who else is told of decisions.

use crate::decision::Decision;

/// Is told of every decision of a gate, for metrics and logs: see
/// [`GateBuilder::hook`](crate::GateBuilder::hook).
///
/// It is called on the thread that asks, so it has to be quick. It cannot change a
/// decision.
pub trait Hook: Send + Sync + 'static {
    /// A gate has decided. `feature` is `None` where a layer by path decided without
    /// one.
    fn decided(&self, feature: Option<&str>, decision: Decision);
}
