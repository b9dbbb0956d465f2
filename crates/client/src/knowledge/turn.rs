//! Changes what is known, in the database and in memory.
//!
//! Evidence, features and the log of attempts change in one transaction. A change that the database
//! cannot store now is kept as unwritten, and written with the next change that it can store.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use license_core::entitlement::Grant;
use license_core::evidence::Evidence;
use license_core::feature::FeatureKey;
use license_core::offline::Pending;
use license_core::plausible_time::PlausibleTime;
use license_core::schedule::calls::Calls;
use license_service::database::{Transaction, is_for_another_try, repeated};
use sea_orm::ConnectionTrait;
use tokio::sync::MutexGuard;

use super::evidence_rows::EvidenceRows;
use super::snapshot::Snapshot;
use super::unwritten::Unwritten;
use super::{Knowledge, reports};
use crate::release_document::ReleaseDocument;
use crate::store::local_license_validation_attempts::Attempt;
use crate::store::{
    StoreError, local_feature_flags, local_license_cache, local_license_validation_attempts,
    system_config,
};

/// The right to change the evidence, which one caller has at a time.
pub struct Turn<'a> {
    pub(super) knowledge: &'a Knowledge,
    _guard: MutexGuard<'a, ()>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(knowledge: &'a Knowledge, guard: MutexGuard<'a, ()>) -> Self {
        Self {
            knowledge,
            _guard: guard,
        }
    }

    /// Changes the evidence at `now`, together with a line in the log of attempts and all unwritten
    /// changes. When everything is stored, `calls` is recorded and requests are answered from the
    /// result.
    ///
    /// `evidence` receives the state at that moment: another process may have changed the database
    /// since the License Server was called, and so may others, whose changes are ignored if keys
    /// are trusted.
    ///
    /// # Errors
    /// If the database returns an error; nothing is changed then.
    pub async fn change(
        &self,
        attempt: Attempt,
        now: DateTime<Utc>,
        evidence: impl Fn(&Evidence) -> Evidence,
        calls: impl FnOnce(&mut Calls),
    ) -> Result<(), StoreError> {
        let snapshot = self.store(Some(attempt), now, evidence).await?;
        // Recorded before the new license becomes visible to callers.
        self.knowledge.note_call(calls);
        self.knowledge.publish(snapshot).await;
        Ok(())
    }

    /// The same for a change that takes effect even if it cannot be stored now. It is written when
    /// the database is available.
    pub async fn change_even_unstored(
        &self,
        attempt: Attempt,
        now: DateTime<Utc>,
        evidence: impl Fn(&Evidence) -> Evidence,
        calls: impl FnOnce(&mut Calls),
    ) {
        let knowledge = self.knowledge;
        let stored = self.store(Some(attempt.clone()), now, &evidence).await;
        let snapshot = stored.unwrap_or_else(|error| {
            tracing::error!(
                %error,
                "failed to store a response from the License Server, keeping it until the database \
                 is available"
            );
            knowledge.note_unwritten(|unwritten| {
                unwritten.evidence = true;
                unwritten.attempts.push(attempt);
            });
            let before = knowledge.snapshot();
            before.with_evidence(evidence(&before.evidence))
        });
        knowledge.note_call(calls);
        knowledge.publish(snapshot).await;
    }

    /// Adds a line to the log of attempts. The log is for people: a line that cannot be stored is
    /// kept until the database is available.
    pub async fn log(&self, attempt: Attempt) {
        let stored = self
            .store(Some(attempt.clone()), attempt.at, Evidence::clone)
            .await;
        match stored {
            Ok(snapshot) => self.knowledge.publish(snapshot).await,
            Err(error) => {
                tracing::error!(%error, "failed to store a line of the attempts log, keeping it \
                    until the database is available");
                self.knowledge
                    .note_unwritten(|unwritten| unwritten.attempts.push(attempt));
                self.knowledge.write_local_copy().await;
            }
        }
    }

    /// Writes the changes that the database could not store before.
    ///
    /// # Errors
    /// If the database still returns an error.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let now = self.knowledge.clock.now();
        let snapshot = self.store(None, now, Evidence::clone).await?;
        self.knowledge.publish(snapshot).await;
        Ok(())
    }

    /// Puts the document of the installed release into effect. It is not stored: its file is read
    /// again at the next start.
    pub fn set_release(&self, release: ReleaseDocument) {
        let snapshot = self.knowledge.snapshot().with_release(release);
        self.knowledge.show(snapshot);
    }

    /// Switches a feature off or on for this site.
    ///
    /// # Errors
    /// If the database returns an error; nothing is changed then.
    pub async fn switch(&self, key: &FeatureKey, on: bool) -> Result<(), StoreError> {
        let knowledge = self.knowledge;
        let store = &knowledge.parts.store;
        let now = knowledge.clock.now();
        let switching = async {
            let transaction = knowledge.begin(now).await?;
            local_feature_flags::switch(&transaction, key, on, now).await?;
            let evidence = knowledge.snapshot().evidence.clone();
            let snapshot = knowledge.joined(&transaction, evidence).await?;
            transaction.commit().await?;
            Ok(snapshot)
        };
        let snapshot = store.within(switching).await?;
        knowledge.publish(snapshot).await;
        Ok(())
    }

    /// Removes the license and what is known about it, with all pending requests by file, so that
    /// none of them can bring it back. `request` is the one that gives up the license. The site's
    /// switches are kept.
    ///
    /// # Errors
    /// If the database returns an error; nothing is changed then.
    pub async fn forget(
        &self,
        license_key: &str,
        request: Option<Pending>,
    ) -> Result<(), StoreError> {
        let knowledge = self.knowledge;
        let store = &knowledge.parts.store;
        let now = knowledge.clock.now();
        let forgetting = async {
            let transaction = knowledge.begin(now).await?;
            local_license_cache::remove(&transaction, license_key).await?;
            local_feature_flags::license(&transaction, &BTreeSet::new(), now).await?;
            system_config::remove(&transaction, system_config::EVIDENCE).await?;
            let snapshot = knowledge.joined(&transaction, Evidence::default()).await?;
            transaction.commit().await?;
            Ok(snapshot)
        };
        let snapshot = store.within(forgetting).await?;
        knowledge.note_unwritten(|unwritten| unwritten.evidence = false);
        knowledge.remember(|remembered| remembered.without(license_key));
        knowledge.set_requests(request.into_iter().collect());
        knowledge.publish(snapshot).await;
        Ok(())
    }

    /// Stores a change together with all unwritten changes; returns the resulting state, which must
    /// be published.
    pub(super) async fn store(
        &self,
        attempt: Option<Attempt>,
        now: DateTime<Utc>,
        change: impl Fn(&Evidence) -> Evidence,
    ) -> Result<Snapshot, StoreError> {
        let knowledge = self.knowledge;
        let unwritten = knowledge.unwritten();
        let attempts: Vec<Attempt> = unwritten.attempts.iter().cloned().chain(attempt).collect();
        let storing = repeated(|| knowledge.try_to_store(&unwritten, &attempts, now, &change));
        let snapshot = knowledge.parts.store.within(storing).await?;
        knowledge.note_unwritten(|waiting| waiting.remove(&unwritten));
        // Lines of other processes are read at the next regular reading, regardless of how often
        // they make changes.
        if !attempts.is_empty() {
            knowledge.parts.attempts.invalidate();
        }
        Ok(snapshot)
    }
}

impl Knowledge {
    async fn try_to_store(
        &self,
        unwritten: &Unwritten,
        attempts: &[Attempt],
        now: DateTime<Utc>,
        change: impl Fn(&Evidence) -> Evidence,
    ) -> Result<Snapshot, StoreError> {
        let parts = &self.parts;
        let known = self.trusted_evidence();
        let identity = self.require_identity()?;
        let transaction = self.begin(now).await?;
        let rows = EvidenceRows::load(&transaction, &known).await?;
        let verified = self.verify(rows, &identity, &known, now);
        let before = if unwritten.evidence && !parts.keys.are_required() {
            verified.evidence.merged(&known)
        } else {
            verified.evidence.clone()
        };
        let after = change(&before);
        self.report_changed_rows(&verified, &known);
        let is_changed = after != before || (unwritten.evidence && after != verified.stored);
        let must_be_written = verified.must_be_rewritten() || is_changed;
        if must_be_written && verified.may_be_replaced_by(&after) {
            EvidenceRows::of(&after, &parts.policy)
                .save(&transaction, now)
                .await?;
            if verified.is_tampered || after.lease != verified.stored.lease {
                save_features(&transaction, &after, parts.time.plausible().moved_to(now)).await?;
            }
        }
        for attempt in attempts {
            append(&transaction, attempt, &identity.hardware_id).await?;
        }
        if unwritten.heartbeat {
            let sent_at = self.calls().heartbeat_at();
            reports::save_heartbeat(&transaction, sent_at, now).await?;
        }
        if unwritten.usage {
            self.save_usage(&transaction, now).await?;
        }
        let snapshot = self.joined(&transaction, after).await?;
        transaction.commit().await?;
        Ok(snapshot)
    }

    /// Combines the evidence with the site's switches.
    pub(super) async fn joined(
        &self,
        db: &impl ConnectionTrait,
        evidence: Evidence,
    ) -> Result<Snapshot, StoreError> {
        let switched_off = local_feature_flags::switched_off(db).await?;
        let release = self.snapshot().release().clone();
        Ok(Snapshot::new(
            evidence,
            switched_off,
            self.parts.policy,
            release,
        ))
    }
}

/// Adds a line to the log of attempts. A line that the database cannot store, for example because
/// of its encoding, is dropped, so that it does not prevent the evidence from being written.
async fn append(
    transaction: &Transaction,
    attempt: &Attempt,
    hardware_id: &str,
) -> Result<(), StoreError> {
    let savepoint = transaction.begin().await?;
    match local_license_validation_attempts::append(&savepoint, attempt, hardware_id).await {
        Ok(()) => savepoint.commit().await?,
        Err(error) if is_for_another_try(&error) => return Err(error),
        Err(error) => {
            savepoint.rollback().await?;
            tracing::error!(%error, "dropped a line of the attempts log that cannot be stored");
        }
    }
    Ok(())
}

async fn save_features(
    db: &impl ConnectionTrait,
    evidence: &Evidence,
    now: PlausibleTime,
) -> Result<(), StoreError> {
    let Some(lease) = &evidence.lease else {
        return Ok(());
    };
    let unreadable = lease.license().unreadable();
    if !unreadable.is_empty() {
        tracing::warn!(
            fields = unreadable.join(", "),
            "the license has unreadable fields, treated as absent"
        );
    }
    let listed = lease.license().features();
    for (entry, why) in &listed.skipped {
        tracing::warn!(entry, %why, "skipped an invalid entry of enabledFeatures");
    }
    let granted = lease.license().granted();
    let is_in_force = |key: &&FeatureKey| granted.feature(key.as_str(), now) == Grant::InForce;
    let in_force = granted.features().filter(is_in_force).cloned().collect();
    local_feature_flags::license(db, &in_force, now.latest()).await
}
