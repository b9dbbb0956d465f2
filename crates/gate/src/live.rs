//! What is known now, shared by those who ask and those who listen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use license_core::announcement::{Announcement, Envelope};
use tokio::sync::watch;

use crate::clock;
use crate::known::Known;
use crate::table::Table;

/// What is known, and the table that follows from it.
pub(crate) struct Live {
    table: ArcSwap<Table>,
    known: Mutex<Known>,
    told: watch::Sender<bool>,
}

impl Live {
    /// Begins with what is known.
    pub(crate) fn new(mut known: Known) -> Self {
        let table = known.table(&clock::readings(), clock::ticks());
        Self {
            table: ArcSwap::from_pointee(table),
            known: Mutex::new(known),
            told: watch::Sender::new(false),
        }
    }

    /// What every check looks into.
    pub(crate) fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// Whether there is contact.
    pub(crate) fn is_in_contact(&self) -> bool {
        lock(&self.known).is_in_contact()
    }

    /// Becomes true with the first thing that is said.
    pub(crate) fn told(&self) -> watch::Receiver<bool> {
        self.told.subscribe()
    }

    /// The License Client has said something.
    pub(crate) fn hear(&self, announcement: Announcement, envelope: &Envelope) {
        let mut known = lock(&self.known);
        let was_in_contact = known.is_in_contact();
        let unproven = known.hear(announcement, envelope, clock::readings());
        self.publish(&mut known);
        if let Some(why) = unproven {
            tracing::error!(
                security = true,
                "licensed features are off: the License Client is not believed: {why}"
            );
        } else if !was_in_contact {
            tracing::info!("the License Client is heard");
        }
        self.told.send_replace(known.is_told());
    }

    /// Contact is lost; answers whether there was any.
    pub(crate) fn lose_contact(&self) -> bool {
        let mut known = lock(&self.known);
        let was_there = known.lose_contact(&clock::readings());
        self.publish(&mut known);
        was_there
    }

    /// What follows from what is known may be something else by now.
    pub(crate) fn look_at_the_clocks(&self) {
        self.publish(&mut lock(&self.known));
    }

    fn publish(&self, known: &mut Known) {
        let table = known.table(&clock::readings(), clock::ticks());
        self.table.store(Arc::new(table));
    }
}

/// What is locked here is replaced as a whole.
fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
