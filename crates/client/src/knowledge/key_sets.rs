//! The chain of the vendor's key sets: advance along it, store it, load it.

use license_core::document::key_id;
use license_core::evidence::Evidence;
use license_core::lease::Lease;
use license_core::response::Trust;
use sea_orm::{ConnectionTrait, DbErr};

use super::Knowledge;
use crate::store::{StoreError, system_config};

impl Knowledge {
    /// Advances along the chain; returns whether it reached a newer set.
    pub fn advance_keys(&self, chain: &[String]) -> bool {
        let Some(walk) = self.parts.keys.advance(chain) else {
            return false;
        };
        if let Some(error) = &walk.error {
            tracing::error!(security = true, %error, "ignoring a key set that failed verification");
            self.parts.metrics.security_event();
        }
        if walk.chain.is_empty() {
            return false;
        }
        let keys: Vec<&str> = walk.keyring.key_ids().collect();
        let revoked: Vec<&str> = walk.keyring.revoked().collect();
        let version = walk.keyring.version();
        tracing::info!(version, ?keys, ?revoked, "the vendor's keys have changed");
        true
    }

    /// Stores the chain.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn store_key_sets(&self) -> Result<(), StoreError> {
        let chain = serde_json::to_string(&self.parts.keys.chain());
        let chain = chain.map_err(|error| DbErr::Json(error.to_string()))?;
        let db = self.parts.store.db();
        let now = self.clock.now();
        let storing = system_config::set(&db, system_config::KEY_SETS, &chain, now);
        self.parts.store.within(storing).await
    }

    /// Reads the chain that is stored, and advances along it.
    pub(super) async fn load_key_sets(&self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        let text = system_config::get(db, system_config::KEY_SETS).await?;
        let chain: Option<Vec<String>> = text.and_then(|text| serde_json::from_str(&text).ok());
        if let Some(chain) = chain
            && self.parts.keys.are_required()
        {
            self.advance_keys(&chain);
        }
        Ok(())
    }

    /// Whether the license was signed by a key that is no longer trusted.
    #[must_use]
    pub fn is_license_revoked(&self) -> bool {
        self.is_revoked(&self.snapshot().evidence)
    }

    fn is_revoked(&self, evidence: &Evidence) -> bool {
        let trust = self.parts.keys.trust();
        match (&**trust, &evidence.lease) {
            (Trust::Keys(keyring), Some(Lease::Signed(document))) => {
                key_id(document.jws()).is_some_and(|kid| keyring.is_revoked(&kid))
            }
            _ => false,
        }
    }

    /// What this process knows, for comparison with what is stored: a license whose key was revoked
    /// in the meantime counts no more than its row.
    pub(super) fn trusted_evidence(&self) -> Evidence {
        let evidence = self.snapshot().evidence.clone();
        if self.is_revoked(&evidence) {
            return Evidence::default();
        }
        evidence
    }
}
