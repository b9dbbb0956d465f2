//! Compares this machine with the known ones.

use chrono::{DateTime, Utc};
use license_core::hardware::{Change, Comparison, Component, Fingerprint, Verdict, compare};
use license_service::database::Database;
use sea_orm::{ConnectionTrait, DbErr};

use super::Knowledge;
use crate::host::components;
use crate::identity;
use crate::store::{StoreError, system_config};

/// Maximum number of machines that are remembered: replicas share one database.
const MAX_MACHINES: usize = 16;

impl Knowledge {
    /// Records this machine as known: an activation binds the license to its current hardware. A
    /// failure is logged.
    pub async fn accept_machine(&self, now: DateTime<Utc>) {
        let accepting = self.parts.store.within(self.remember_machine(now));
        match accepting.await {
            Ok(comparison) => self.comparison.store(Some(comparison.into())),
            Err(error) => {
                tracing::warn!(%error, "failed to store the machine's fingerprint");
            }
        }
    }

    async fn remember_machine(&self, now: DateTime<Utc>) -> Result<Comparison, StoreError> {
        let db = self.parts.store.db();
        let secret = identity::secret(&db, now).await?;
        let machine = Fingerprint::of(&components::read(&self.parts.root), &secret);
        let known = load(&db).await?;
        let comparison = compare(std::slice::from_ref(&machine), &machine);
        let unchanged = |change: &Change| *change == Change::Same;
        if !compare(&known, &machine).components.values().all(unchanged) {
            remember(&db, known, &machine, now).await?;
        }
        Ok(comparison)
    }

    /// Compares this machine with the known ones. The first machine is recorded as known, and so is
    /// one that joins others that are alive. Drift is only recorded; it never denies anything.
    pub(super) async fn examine_machine(
        &self,
        db: &Database,
        secret: &[u8; 64],
        now: DateTime<Utc>,
    ) -> Result<Comparison, StoreError> {
        let machine = Fingerprint::of(&components::read(&self.parts.root), secret);
        let known = load(db).await?;
        let mut comparison = compare(&known, &machine);
        let joins = comparison.verdict == Verdict::Drifted
            && self.parts.scheduler.others_are_alive(db, now).await?;
        if joins || (known.is_empty() && !machine.is_empty()) {
            remember(db, known, &machine, now).await?;
            comparison = compare(std::slice::from_ref(&machine), &machine);
        }
        log(&comparison);
        Ok(comparison)
    }
}

fn log(comparison: &Comparison) {
    let changed: Vec<&str> = comparison.changed().map(Component::as_str).collect();
    match comparison.verdict {
        Verdict::Drifted => tracing::warn!(
            ?changed,
            "this looks like a different machine from the one the license was activated on; if \
             this is intended, activate the license key again"
        ),
        Verdict::Same if !changed.is_empty() => {
            tracing::info!(
                ?changed,
                "some hardware has changed, but this is still the same machine"
            );
        }
        Verdict::Same | Verdict::Unknown => {}
    }
}

/// Unreadable rows count as missing.
async fn load(db: &impl ConnectionTrait) -> Result<Vec<Fingerprint>, StoreError> {
    let text = system_config::get(db, system_config::FINGERPRINTS).await?;
    Ok(text
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default())
}

async fn remember(
    db: &impl ConnectionTrait,
    known: Vec<Fingerprint>,
    machine: &Fingerprint,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut machines = vec![machine.clone()];
    machines.extend(known.into_iter().filter(|known| known != machine));
    machines.truncate(MAX_MACHINES);
    let text = serde_json::to_string(&machines).map_err(|e| DbErr::Json(e.to_string()))?;
    system_config::set(db, system_config::FINGERPRINTS, &text, now).await
}
