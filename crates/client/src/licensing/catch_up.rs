//! Follow the vendor's key sets.
//!
//! The License Server says with every signed answer which set is its newest.
//! A client that has an older one, or meets a key that it does not know, asks
//! for the signed sets in between, and follows them as far as they can be
//! believed.

use std::time::Duration;

use license_core::contact::{self, Contact, Reply, Trust};
use license_core::document::key_id;
use license_core::evidence::Evidence;
use license_core::lease::Lease;

use crate::app::App;
use crate::licensing::keep::keep;
use crate::licensing::key_sets;

/// Judges an answer with `judge`; an answer that is signed by a key of a newer
/// set is judged again when the sets lead there. What a signed answer proves
/// is noted: the time, and that there are newer sets. The question was sent
/// when the process had been running for `sent`.
pub async fn judged(
    app: &App,
    reply: &Reply,
    sent: Duration,
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
        app.prove_time(signed_at, sent);
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
    if !key_sets::go_on(app, &chain) {
        return false;
    }
    if let Err(error) = key_sets::store(&app.store.db(), app).await {
        tracing::warn!(%error, "the new key sets could not be stored; they are kept in the local copy");
    }
    keep(app).await;
    if is_revoked(app, &app.snapshot().evidence) {
        app.note_call(|calls| calls.validation_wanted = true);
    }
    true
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
