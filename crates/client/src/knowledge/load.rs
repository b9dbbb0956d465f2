//! Loads what earlier runs have stored.

use chrono::{DateTime, Utc};
use license_core::evidence::Evidence;
use license_core::hardware::{Comparison, Verdict};
use license_core::license_key;
use license_core::remembered::Remembered;
use license_core::schedule::calls::Calls;
use license_core::time_guard::Mark;
use license_service::database::Database;

use super::evidence_rows::{EvidenceRows, is_signed};
use super::timekeeping::Timekeeping;
use super::{Knowledge, reports};
use crate::identity::{self, Identity};
use crate::installation_key;
use crate::store::{OtherInstallation, StoreError};

/// What the database contains in addition to the evidence.
struct Opened {
    identity: Identity,
    comparison: Comparison,
    /// The license key, if version 1.0.0 has activated it and this is the first time it is seen.
    adopted: Option<String>,
    heartbeat_at: Option<DateTime<Utc>>,
}

impl Knowledge {
    /// Loads the local copy, and then the database, if it is available. If not,
    /// [`Knowledge::open_database`] must be retried.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn load(&self) -> Result<(), StoreError> {
        self.load_local_copy();
        self.open_database().await
    }

    /// Creates the missing tables, determines the identity of this installation, and loads what is
    /// known. A license that version 1.0.0 activated is adopted.
    ///
    /// # Errors
    /// If the database returns an error; it can be retried.
    pub async fn open_database(&self) -> Result<(), StoreError> {
        let turn = self.turn().await;
        let reading = self.prepare_and_read(self.clock.now());
        let opened = self.parts.store.within(reading).await?;
        if let Some(license_key) = opened.adopted {
            tracing::info!(
                license_key = license_key::mask(&license_key),
                "adopted the license from the Python service; validating it now"
            );
        }
        // The loaded data may have changed the time.
        let now = self.clock.now();
        self.set_identity(opened.identity);
        let has_drifted = opened.comparison.verdict == Verdict::Drifted;
        self.comparison.store(Some(opened.comparison.into()));
        let snapshot = turn.store(None, now, Evidence::clone).await?;
        self.publish(snapshot).await;
        self.database.note_opened();
        self.resume_calls(opened.heartbeat_at, now);
        if has_drifted {
            self.note_call(Calls::validation_wanted);
        }
        tracing::info!(standing = ?self.snapshot().standing(now), "evidence loaded");
        Ok(())
    }

    async fn prepare_and_read(&self, now: DateTime<Utc>) -> Result<Opened, StoreError> {
        let parts = &self.parts;
        parts.store.prepare(now).await?;
        let db = parts.store.db();
        let secret = identity::secret(&db, now).await?;
        self.load_key_sets(&db).await?;
        let rows = EvidenceRows::load(&db, &self.trusted_evidence()).await?;
        let known = self.witness(&db, &rows).await?;
        self.database.note_own_installation();
        let settling = identity::settle(
            &db,
            &parts.prescribed,
            known.as_ref(),
            &secret,
            &parts.root,
            now,
        );
        let (identity, repaired) = settling.await?;
        (0..repaired).for_each(|_| parts.metrics.security_event());
        let comparison = self.examine_machine(&db, &secret, now).await?;
        let mark = Timekeeping::load_mark(&db).await?;
        let verified = self.verify(rows, &identity, &Evidence::default(), now);
        self.restore_time(mark.as_ref(), &verified.evidence);
        self.settle_key(&db, &verified.evidence, now).await?;
        let adopted = verified
            .is_adopted
            .then(|| verified.evidence.license_key().to_owned());
        let heartbeat_at = reports::load_heartbeat(&db).await?;
        parts.meter.join(reports::load_usage(&db).await?, now);
        Ok(Opened {
            identity,
            comparison,
            adopted,
            heartbeat_at,
        })
    }

    /// Determines the installation key. The newest signed license names the bound one: a replica may have
    /// been away while the key was replaced.
    async fn settle_key(
        &self,
        db: &Database,
        stored: &Evidence,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let parts = &self.parts;
        let snapshot = self.snapshot();
        let known = &snapshot.evidence;
        let bound = match known.newest_signed_at() < stored.newest_signed_at() {
            true => stored.bound_key().or(known.bound_key()),
            false => known.bound_key().or(stored.bound_key()),
        };
        let settling = installation_key::settle(db, &parts.installation_key, bound, now);
        let settled = settling.await?;
        if settled.is_repaired {
            parts.metrics.security_event();
        }
        self.installation_key.store(Some(settled.key.into()));
        Ok(())
    }

    /// The identity of this installation: the one in the local copy, to which only this service
    /// writes, and otherwise that of the signed license in the database.
    ///
    /// # Errors
    /// [`StoreError::OtherInstallation`] if the database contains another one with its signed
    /// license, so that neither overwrites the other.
    async fn witness(
        &self,
        db: &Database,
        rows: &EvidenceRows,
    ) -> Result<Option<Identity>, StoreError> {
        let database = rows.addressee(&self.parts.keys);
        let Some(local) = self.known_identity(rows) else {
            return Ok(database);
        };
        let prescribed = &self.parts.prescribed;
        let Some(database) = database.filter(|database| prescribed.distinguish(&local, database))
        else {
            return Ok(Some(local));
        };
        if identity::stored_ids(db).await?.as_ref() != Some(&database) {
            return Ok(Some(local));
        }
        let other = OtherInstallation {
            local: local.installation_id,
            database: database.installation_id,
        };
        if self.database.note_other_installation(&other) {
            self.parts.metrics.security_event();
            tracing::error!(security = true, "{other}");
        }
        Err(other.into())
    }

    /// The identity of this installation according to the local copy. It gives way to a database
    /// with a license only if this installation has never had one: it was then started before its
    /// database was restored.
    fn known_identity(&self, rows: &EvidenceRows) -> Option<Identity> {
        let snapshot = self.snapshot();
        let evidence = &snapshot.evidence;
        let identity = match is_signed(evidence) {
            true => self.identity(),
            false => self.copied_identity.load_full(),
        };
        let identity = identity.map(|identity| (*identity).clone());
        let Some(stored) = &rows.cached else {
            return identity;
        };
        let has_had_license = evidence.lease.is_some()
            || self.remembered() != Remembered::default()
            || !self.requests().is_empty();
        // Without keys, the license in the database counts, whatever it is.
        let is_replaced = !self.parts.keys.are_required()
            && !license_key::same(&stored.license_key, evidence.license_key());
        identity.filter(|_| has_had_license && !is_replaced)
    }

    /// A local copy of this installation may know more than the database: it was away, or is a
    /// restored backup. One of another installation does not apply to this one.
    fn set_identity(&self, identity: Identity) {
        let is_ours = self
            .identity()
            .is_some_and(|known| known.installation_id == identity.installation_id);
        self.identity.store(Some(identity.into()));
        if is_ours {
            self.note_unwritten(|unwritten| unwritten.evidence = true);
        } else {
            let nothing = self.snapshot().with_evidence(Evidence::default());
            self.show(nothing);
            self.note_unwritten(|unwritten| *unwritten = Default::default());
            self.set_requests(Vec::new());
        }
    }

    /// An earlier run has stored this high-water mark together with this evidence.
    pub(super) fn restore_time(&self, mark: Option<&Mark>, evidence: &Evidence) {
        let parts = &self.parts;
        let remembered = self.remembered();
        parts
            .time
            .restore(mark, evidence, &parts.policy, &remembered);
    }

    /// Determines when the next calls are due.
    pub(super) fn resume_calls(&self, heartbeat_at: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        let snapshot = self.snapshot();
        let standing = snapshot.standing(now);
        self.note_call(|calls| calls.resumed(&snapshot.evidence, &standing, heartbeat_at, now));
        if self.parts.time.awaits_validation() {
            self.note_call(Calls::validation_wanted);
        }
    }
}
