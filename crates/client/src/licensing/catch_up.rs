//! Follow the vendor's key sets.
//!
//! The License Server says with every signed answer which set is its newest.
//! A client that has an older one, or meets a key that it does not know, asks
//! for the signed sets in between, and follows them as far as they can be
//! believed.

use license_core::contact::{self, Contact, Reply, Trust};
use license_core::document::key_id;
use license_core::evidence::Evidence;
use license_core::lease::Lease;
use sea_orm::{ConnectionTrait, DbErr};

use crate::app::App;
use crate::licensing::keep::keep;
use crate::store::{StoreError, system_config};

/// Judges an answer with `judge`; an answer that is signed by a key of a newer
/// set is judged again when the sets lead there. What a signed answer proves
/// is noted: the time, and that there are newer sets.
pub async fn judged(
    app: &App,
    reply: &Reply,
    judge: impl Fn(&Reply, &Trust) -> Contact,
) -> Contact {
    let mut contact = judge(reply, &app.keys.trust());
    if let Contact::None(why) = &contact
        && why.is_unknown_key()
        && catch_up(app).await
    {
        contact = judge(reply, &app.keys.trust());
    }
    if let Some((signed_at, newest)) = contact.proof() {
        app.prove_time(signed_at);
        if newest > app.keys.version() {
            catch_up(app).await;
        }
    }
    contact
}

/// Asks for newer key sets, and follows them; answers whether there were any.
async fn catch_up(app: &App) -> bool {
    let Some(version) = app.keys.version() else {
        return false;
    };
    let reply = app.upstream.key_sets(version).await;
    let chain = match contact::key_sets(&reply) {
        Ok(chain) => chain,
        Err(error) => {
            tracing::warn!(%error, "the newer key sets could not be had");
            return false;
        }
    };
    if !go_on(app, &chain) {
        return false;
    }
    if let Err(error) = store(&app.store.db(), app).await {
        tracing::warn!(%error, "the new key sets could not be stored; they are kept in the local copy");
    }
    keep(app).await;
    if is_revoked(app, &app.snapshot().evidence) {
        app.note_call(|calls| calls.validation_wanted = true);
    }
    true
}

/// Goes on along the chain; answers whether that led anywhere.
pub fn go_on(app: &App, chain: &[String]) -> bool {
    let Some(walk) = app.keys.go_on(chain) else {
        return false;
    };
    if let Some(error) = &walk.error {
        tracing::error!(security = true, %error, "a key set cannot be believed, and is not followed");
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

/// Whether the cached license was signed by a key that is not trusted any
/// more.
fn is_revoked(app: &App, evidence: &Evidence) -> bool {
    let trust = app.keys.trust();
    match (&**trust, &evidence.lease) {
        (Trust::Keys(keyring), Some(Lease::Signed(document))) => {
            key_id(document.jws()).is_some_and(|kid| keyring.is_revoked(&kid))
        }
        _ => false,
    }
}
