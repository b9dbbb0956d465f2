//! Applies changes that another process has made in the database.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use license_core::evidence::{Evidence, Failure};
use license_core::usage::Gauges;

use super::evidence_rows::EvidenceRows;
use super::snapshot::Snapshot;
use super::turn::Turn;
use super::verified_rows::Verified;
use super::{Knowledge, lock, reports};
use crate::store::{StoreError, system_config};

/// How long a row that others change repeatedly is left unrepaired.
const REPAIR_INTERVAL: Duration = Duration::from_secs(60);

/// The content of the database at one moment.
struct Contents {
    revision: Option<String>,
    verified: Verified,
    snapshot: Snapshot,
    heartbeat_at: Option<DateTime<Utc>>,
    gauges: Gauges,
}

impl Knowledge {
    /// Reloads the state if the database's revision differs from `seen`; returns the loaded
    /// revision. While this process is making a change, the reload is postponed, and so is the
    /// repair of rows that cannot be repaired yet.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn reload(&self, seen: Option<String>) -> Result<Option<String>, StoreError> {
        let store = &self.parts.store;
        let revision = store.within(store.revision()).await?;
        if revision == seen {
            return Ok(seen);
        }
        let Ok(guard) = self.turn.try_lock() else {
            return Ok(seen);
        };
        let turn = Turn::new(self, guard);
        // Pending changes are newer than the database.
        if self.unwritten().evidence {
            return Ok(seen);
        }
        let now = self.clock.now();
        let known = self.trusted_evidence();
        let mut contents = store.within(self.read(&known, now)).await?;
        let must_be_rewritten = contents.verified.must_be_rewritten();
        if must_be_rewritten && self.may_repair() {
            contents.snapshot = turn.store(None, now, Evidence::clone).await?;
        } else {
            // Only rewriting is limited: everything that changes the evidence is reported.
            if contents.verified.evidence.lease != known.lease {
                self.report_changed_rows(&contents.verified, &known);
            }
            if must_be_rewritten {
                contents.revision = seen;
            }
        }
        self.parts.meter.join(contents.gauges, now);
        let heartbeat_at = contents.heartbeat_at;
        self.note_call(|calls| calls.heartbeat_sent_elsewhere(heartbeat_at, now));
        self.log_switches(&contents.snapshot);
        self.note_validation_elsewhere(&contents.snapshot, &known, now);
        self.publish(contents.snapshot).await;
        Ok(contents.revision)
    }

    /// Other processes make changes in the meantime, so everything is read in one transaction.
    async fn read(&self, known: &Evidence, now: DateTime<Utc>) -> Result<Contents, StoreError> {
        let reading = self.parts.store.db().begin_reading().await?;
        let revision = system_config::get(&reading, system_config::REVISION).await?;
        self.load_key_sets(&reading).await?;
        let identity = self.require_identity()?;
        let rows = EvidenceRows::load(&reading, known).await?;
        let verified = self.verify(rows, &identity, known, now);
        let heartbeat_at = reports::load_heartbeat(&reading).await?;
        let gauges = reports::load_usage(&reading).await?;
        let snapshot = self.joined(&reading, verified.evidence.clone()).await?;
        reading.rollback().await?;
        Ok(Contents {
            revision,
            verified,
            snapshot,
            heartbeat_at,
            gauges,
        })
    }

    /// Whether rows that others have changed may be rewritten: not again within
    /// [`REPAIR_INTERVAL`], because a trigger can change them each time.
    fn may_repair(&self) -> bool {
        let now = self.clock.running();
        let mut repaired_at = lock(&self.repaired_at);
        let is_due = repaired_at.is_none_or(|at| now.saturating_sub(at) >= REPAIR_INTERVAL);
        if is_due {
            *repaired_at = Some(now);
        }
        is_due
    }

    fn log_switches(&self, loaded: &Snapshot) {
        let off = |snapshot: &Snapshot| {
            let keys = snapshot.entitlements().switched_off().cloned();
            keys.collect::<BTreeSet<_>>()
        };
        let (before, after) = (off(&self.snapshot()), off(loaded));
        if before != after {
            tracing::warn!(
                switched_off = ?after.difference(&before).collect::<Vec<_>>(),
                switched_on = ?before.difference(&after).collect::<Vec<_>>(),
                "applied changed feature switches from the database"
            );
        }
    }

    /// Evidence that differs from what this process knows comes from a call by another process.
    fn note_validation_elsewhere(&self, loaded: &Snapshot, known: &Evidence, now: DateTime<Utc>) {
        let evidence = &loaded.evidence;
        if *evidence == self.snapshot().evidence {
            return;
        }
        tracing::info!(standing = ?loaded.standing(now), "applied a change from the database");
        let failed_at = evidence.last_failure.as_ref().map(Failure::at);
        // Others could delay calls by changing data that is only in the columns.
        let tried_at = if self.parts.keys.are_required() {
            let signed_at = evidence.newest_signed_at();
            signed_at.filter(|_| signed_at > known.newest_signed_at())
        } else {
            evidence.confirmed_at.max(failed_at)
        };
        if let Some(tried_at) = tried_at {
            self.parts.scheduler.note_running();
            self.note_call(|calls| calls.validated_elsewhere(tried_at, failed_at.is_some(), now));
        }
    }
}
