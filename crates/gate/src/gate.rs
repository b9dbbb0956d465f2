//! A gate: the queries that it answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::announced::Limit;
use crate::decision::Decision;
use crate::error::ContactError;
use crate::feature_key::FeatureKey;
use crate::shared::Shared;

/// Decides whether features may be used, from a live copy of the License
/// Client's decisions. Clones are the same gate, which follows the License
/// Client until the last of them is dropped.
#[derive(Clone)]
pub struct Gate {
    shared: Arc<Shared>,
}

impl Gate {
    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Decides about one feature, from memory: no network, no lock, no allocation. Any
    /// text is accepted; unknown keys are not available.
    #[inline]
    #[must_use]
    pub fn check(&self, feature: impl AsRef<str>) -> Decision {
        let feature = feature.as_ref();
        let decision = self.shared.decide(feature);
        self.shared.notify_hooks(Some(feature), decision);
        decision
    }

    /// Whether a feature may be used: [`Gate::check`] without the reason.
    #[inline]
    #[must_use]
    pub fn is_available(&self, feature: impl AsRef<str>) -> bool {
        self.check(feature).available
    }

    /// Logs a warning if the License Client does not know `feature`, which may be
    /// misspelled. The check runs after the first contact. Layers do this automatically.
    pub fn expect(&self, feature: impl Into<FeatureKey>) {
        self.shared.require(&feature.into());
    }

    /// The license's limit for a [`Resource`](crate::Resource), or for anything else that licenses
    /// count, such as `anpr_lanes`: 0 for what this license does not count. Exceeding a limit does
    /// not switch anything off.
    #[must_use]
    pub fn limit(&self, resource: impl AsRef<str>) -> Limit {
        self.shared.limit(resource.as_ref())
    }

    /// The license's tier, if known.
    #[must_use]
    pub fn tier(&self) -> Option<String> {
        self.shared.table().tier().map(str::to_owned)
    }

    /// Whether there is contact with the License Client.
    #[must_use]
    pub fn is_in_contact(&self) -> bool {
        self.shared.is_in_contact()
    }

    /// The last problem: why there is no contact, or why the License Client is not
    /// trusted. `None` if there is no problem.
    #[must_use]
    pub fn last_error(&self) -> Option<ContactError> {
        self.shared.last_error()
    }

    /// Waits for the first contact with the License Client, at most for `timeout`; returns
    /// whether there was one. A gateway that does not wait starts with the decisions of
    /// [`crate::WithoutContact`]. Works on any async runtime.
    pub async fn ready(&self, timeout: Duration) -> bool {
        self.shared.ready(timeout).await
    }

    /// The same for programs without an async runtime.
    #[must_use]
    pub fn wait_until_ready(&self, timeout: Duration) -> bool {
        self.shared.wait_until_ready(timeout)
    }
}

/// Short, even with many features.
impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.shared.table();
        f.debug_struct("Gate")
            .field("is_in_contact", &self.is_in_contact())
            .field("last_error", &self.last_error())
            .field("features", &table.len())
            .field("tier", &table.tier())
            .finish_non_exhaustive()
    }
}
