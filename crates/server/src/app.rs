//! State shared by all use cases.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use license_core::document::DocumentType;
use license_core::signing_clock::ClockDoubt;
use license_service::clock::Clock;
use license_service::turns::Turns;
use serde::Serialize;

use crate::audit::{Actor, Author, Change, PermittedChange};
use crate::call_queues::CallQueues;
use crate::config::Terms;
use crate::metrics::Metrics;
use crate::numbering::Numbering;
use crate::rates::Rates;
use crate::signing::clock::SigningClock;
use crate::signing::loaded::LoadedKeys;
use crate::signing::{SignError, SigningError, SigningKeys};
use crate::store::Store;
use crate::traffic::Traffic;

/// The running service, shared by requests and jobs.
pub struct App {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is signed into a document.
    pub terms: Terms,
    /// Counts of sites' calls.
    pub traffic: Arc<Traffic>,
    /// The rate limits of sites' calls.
    pub rates: Rates,
    /// The queues of sites' calls.
    pub queues: CallQueues,
    /// The queues of calls with the same `Idempotency-Key`.
    pub(crate) keyed_calls: Turns,
    /// Whether this machine's clock is trusted for signing.
    pub signing_clock: SigningClock,
    /// The sequence numbers that the database accounts for.
    pub numbering: Numbering,
    /// The metrics.
    pub metrics: Metrics,
    pub(crate) keys: Arc<LoadedKeys>,
    /// The queue of changes of signing keys.
    pub(crate) key_changes: Turns,
}

impl App {
    /// Who makes a change, and when.
    #[must_use]
    pub fn change(&self, by: Actor) -> Change {
        Change {
            by,
            at: self.clock.now(),
        }
    }

    /// The same for a change that needs a clock that is trusted.
    ///
    /// # Errors
    /// [`ClockDoubt`], while the clock may be wrong.
    pub fn permitted_change(&self, by: Actor) -> Result<PermittedChange, ClockDoubt> {
        self.author(by).change()
    }

    /// The author of several changes, each with its own time.
    #[must_use]
    pub fn author(&self, by: Actor) -> Author<'_> {
        Author::new(by, &*self.clock, &self.signing_clock)
    }

    /// Stores the counted calls, if possible.
    pub async fn write_traffic_down(&self) {
        let (traffic, store) = (self.traffic.clone(), self.store.clone());
        // Runs to completion even if the caller disconnects, because the counts were already
        // taken from memory.
        let writing = tokio::spawn(async move { traffic.write_down(&store).await });
        match writing.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "failed to store the call counts, retrying");
            }
            Err(error) => tracing::error!(%error, "failed to store the call counts"),
        }
    }

    /// The directory of the keys.
    #[must_use]
    pub fn keys_dir(&self) -> &Path {
        self.keys.directory()
    }

    /// The keys that are currently used for signing.
    #[must_use]
    pub fn keys(&self) -> arc_swap::Guard<Arc<SigningKeys>> {
        self.keys.current()
    }

    /// Reloads the keys if their files have changed, or the last reload failed. Returns whether
    /// they were reloaded.
    ///
    /// # Errors
    /// If a key cannot be used, or the files do not continue the loaded keys; the previous keys
    /// then stay in use, and the service is not ready.
    pub fn reload_changed_keys(&self) -> Result<bool, SigningError> {
        self.keys.reload_if_changed()
    }

    /// Whether the keys in use are those of the files, as far as is known.
    #[must_use]
    pub fn are_keys_current(&self) -> bool {
        !self.keys.has_failed()
    }

    /// Signs claims at `now`, which was read from the clock within the request, with the key that
    /// is active at that time.
    ///
    /// # Errors
    /// While the clock may be wrong, when no key may sign, and while the keys do not match
    /// what the database has recorded.
    pub fn sign(
        &self,
        document_type: DocumentType,
        claims: &impl Serialize,
        now: DateTime<Utc>,
    ) -> Result<String, SignError> {
        let at = self.signing_clock.permit(now)?;
        let signed = self.keys.to_sign()?.sign(document_type, claims, at)?;
        self.signing_clock.note_signed();
        Ok(signed)
    }

    /// Whether documents can be signed now.
    ///
    /// # Errors
    /// As [`App::sign`].
    pub fn can_sign(&self) -> Result<(), SignError> {
        let at = self.signing_clock.permit(self.clock.now())?;
        Ok(self.keys.to_sign()?.check(at.instant())?)
    }
}
