//! The chain of the vendor's key sets: advance along it, store it, load it.

use sea_orm::{ConnectionTrait, DbErr};

use crate::app::App;
use crate::store::{StoreError, system_config};

/// Advances along the chain; answers whether it reached a newer set.
pub fn go_on(app: &App, chain: &[String]) -> bool {
    let Some(walk) = app.keys.go_on(chain) else {
        return false;
    };
    if let Some(error) = &walk.error {
        tracing::error!(security = true, %error, "ignoring a key set that failed verification");
        app.metrics.security_event();
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

/// Reads the chain that is stored, and goes along it.
///
/// # Errors
/// When the database refuses.
pub async fn recall(db: &impl ConnectionTrait, app: &App) -> Result<(), StoreError> {
    let text = system_config::get(db, system_config::KEY_SETS).await?;
    let chain: Option<Vec<String>> = text.and_then(|text| serde_json::from_str(&text).ok());
    if let Some(chain) = chain
        && app.keys.are_required()
    {
        go_on(app, &chain);
    }
    Ok(())
}

/// Stores the chain.
///
/// # Errors
/// When the database refuses.
pub async fn store(db: &impl ConnectionTrait, app: &App) -> Result<(), StoreError> {
    let chain = serde_json::to_string(&app.keys.chain());
    let chain = chain.map_err(|error| DbErr::Json(error.to_string()))?;
    let now = app.clock.now();
    system_config::set(db, system_config::KEY_SETS, &chain, now).await
}
