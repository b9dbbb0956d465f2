//! A gate: what may be asked of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use license_core::usage::Resource;
use tokio::task::AbortHandle;

use crate::clock;
use crate::decision::Decision;
use crate::live::Live;
use crate::table::Limit;

/// Decides whether features may be used, from a live copy of the License
/// Client's decisions. Clones are the same gate, which follows the License
/// Client until the last of them is dropped.
#[derive(Clone)]
pub struct Gate {
    live: Arc<Live>,
    _tasks: Arc<Tasks>,
}

impl Gate {
    /// A gate of what is known, which `tasks` keep up to date.
    pub(crate) fn of(live: Arc<Live>, tasks: [AbortHandle; 2]) -> Self {
        Self {
            live,
            _tasks: Arc::new(Tasks(tasks)),
        }
    }

    /// Decides about one feature, from memory: no network, no lock, nothing
    /// allocated. Any text may be asked about; what nobody knows is not
    /// available.
    #[must_use]
    pub fn check(&self, feature: &str) -> Decision {
        let table = self.live.table();
        table.decide(feature, clock::ticks())
    }

    /// The license's limit of cameras, users or storage. Being over a limit
    /// switches off nothing that already runs.
    #[must_use]
    pub fn limit(&self, resource: Resource) -> Limit {
        self.live.table().limit(resource)
    }

    /// The license's tier, where there is one.
    #[must_use]
    pub fn tier(&self) -> Option<String> {
        self.live.table().tier.clone()
    }

    /// Whether the License Client is being heard.
    #[must_use]
    pub fn is_in_contact(&self) -> bool {
        self.live.is_in_contact()
    }

    /// Waits until the License Client has been heard for the first time, for
    /// `at_most`; answers whether it has. A gateway that does not wait begins
    /// with what [`crate::WithoutContact`] says.
    pub async fn ready(&self, at_most: Duration) -> bool {
        let mut told = self.live.told();
        let told = told.wait_for(|told| *told);
        matches!(tokio::time::timeout(at_most, told).await, Ok(Ok(_)))
    }
}

/// Ends what follows the License Client when nobody asks any more.
struct Tasks([AbortHandle; 2]);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.live.table();
        f.debug_tuple("Gate").field(&**table).finish()
    }
}
