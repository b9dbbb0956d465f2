//! The local copy in `STATE_DIR`: what is known, for a start without the database.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use license_core::feature::FeatureKey;
use license_core::offline::Pending;
use license_core::remembered::Remembered;
use license_core::time_guard::Mark;
use license_core::usage::Gauges;
use serde::{Deserialize, Serialize};

use super::Knowledge;
use super::copied_rows::CopiedRows;
use super::evidence_rows::EvidenceRows;
use super::snapshot::Snapshot;
use super::unwritten::Unwritten;
use crate::identity::{Identity, is_usable};
use crate::installation_key;

/// The content of the local copy.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LocalCopy {
    installation_id: String,
    hardware_id: String,
    /// Which of the two ids a setting prescribed.
    #[serde(default)]
    is_installation_id_prescribed: bool,
    #[serde(default)]
    is_hardware_id_prescribed: bool,
    rows: CopiedRows,
    switched_off: BTreeSet<String>,
    heartbeat_at: DateTime<Utc>,
    unwritten: Unwritten,
    #[serde(default)]
    key_sets: Vec<String>,
    /// The high-water mark of the effective time.
    #[serde(default)]
    effective_time: Option<Mark>,
    /// The usage reports from services, while the database does not have them.
    #[serde(default)]
    reported_usage: Gauges,
    /// The time in effect when this was written, if no keys are trusted.
    #[serde(default)]
    unsigned_time: Option<DateTime<Utc>>,
    /// What is remembered about licenses, including former ones.
    #[serde(default)]
    remembered: Remembered,
    /// The request files that wait for an answer.
    #[serde(default)]
    requests: Vec<Pending>,
}

impl Knowledge {
    /// Writes the local copy; returns whether it was written.
    pub async fn write_local_copy(&self) -> bool {
        let Some(identity) = self.identity() else {
            return false;
        };
        self.parts
            .local_copy
            .write(|| self.local_copy(&identity))
            .await
    }

    fn local_copy(&self, identity: &Identity) -> LocalCopy {
        let parts = &self.parts;
        let snapshot = self.snapshot();
        let switched_off = snapshot.entitlements().switched_off();
        let unwritten = self.unwritten();
        LocalCopy {
            installation_id: identity.installation_id.clone(),
            hardware_id: identity.hardware_id.clone(),
            is_installation_id_prescribed: parts.prescribed.installation_id.is_some(),
            is_hardware_id_prescribed: parts.prescribed.hardware_id.is_some(),
            rows: CopiedRows(Some(EvidenceRows::of(&snapshot.evidence, &parts.policy))),
            switched_off: switched_off.map(ToString::to_string).collect(),
            heartbeat_at: self.calls().heartbeat_at(),
            reported_usage: match unwritten.usage {
                true => parts.meter.gauges(),
                false => Gauges::default(),
            },
            unwritten,
            key_sets: parts.keys.chain(),
            effective_time: parts.time.mark(),
            unsigned_time: parts.time.unsigned_now(),
            remembered: self.remembered(),
            requests: self.requests(),
        }
    }

    /// Loads the local copy, if there is one, which needs no database. Signed content is verified.
    /// Nobody who can only write to the database can make it unreadable, so an unreadable one is a
    /// security event.
    pub fn load_local_copy(&self) {
        let parts = &self.parts;
        let Some(copy) = parts.local_copy.read::<LocalCopy>() else {
            if parts.local_copy.exists() {
                self.report_unreadable("the local copy cannot be read");
            }
            return;
        };
        if !is_usable(&copy.installation_id) || !is_usable(&copy.hardware_id) {
            tracing::error!(
                security = true,
                "ignoring the local copy because its id was changed by hand"
            );
            parts.metrics.security_event();
            return;
        }
        let now = self.clock.now();
        self.advance_keys(&copy.key_sets);
        let prescribed = parts.prescribed.clone();
        let is_of_former_setting = (copy.is_installation_id_prescribed
            && prescribed.installation_id.is_none())
            || (copy.is_hardware_id_prescribed && prescribed.hardware_id.is_none());
        let identity = Identity {
            installation_id: prescribed.installation_id.unwrap_or(copy.installation_id),
            hardware_id: prescribed.hardware_id.unwrap_or(copy.hardware_id),
        };
        self.remember(|remembered| copy.remembered.joined(remembered));
        let CopiedRows(rows) = copy.rows;
        if rows.is_none() {
            self.report_unreadable("the license in the local copy cannot be read");
        }
        let evidence = self.verify_local_copy(rows.unwrap_or_default(), &identity, now);
        if evidence.is_tampered {
            parts.metrics.security_event();
        }
        self.log_not_taken_over(&evidence);
        let evidence = evidence.evidence;
        let switched_off = copy.switched_off.iter();
        let switched_off = switched_off.filter_map(|key| FeatureKey::parse(key).ok());
        let identity = Some(Arc::new(identity));
        self.copied_identity
            .store(identity.clone().filter(|_| !is_of_former_setting));
        self.identity.store(identity);
        let key = installation_key::of_file(&parts.installation_key);
        self.installation_key.store(key.map(Into::into));
        self.database.note_copy();
        self.note_unwritten(|unwritten| *unwritten = copy.unwritten);
        parts.meter.restore(copy.reported_usage, now);
        parts.time.note_ran_until(copy.unsigned_time);
        self.restore_time(copy.effective_time.as_ref(), &evidence);
        self.show(Snapshot::new(
            evidence,
            switched_off.collect(),
            parts.policy,
            self.snapshot().release().clone(),
        ));
        self.set_requests(copy.requests);
        self.resume_calls(Some(copy.heartbeat_at), self.clock.now());
    }

    fn report_unreadable(&self, what: &'static str) {
        tracing::error!(security = true, "{what}; it is ignored");
        self.parts.metrics.security_event();
    }
}
