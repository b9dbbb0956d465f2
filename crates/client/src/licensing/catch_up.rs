//! Follow the vendor's key sets.
//!
//! Every signed answer of the License Server names its newest set.
//! A client that has an older one, or meets a key that it does not know, asks
//! for the signed sets in between, and follows them as far as they can be
//! believed. One answer is bounded, so it asks again while it gets further.

use license_core::calls::Calls;
use license_core::contact::{self, Trust};
use license_core::document::key_id;
use license_core::evidence::Evidence;
use license_core::lease::Lease;

use crate::app::App;
use crate::licensing::keep::keep;
use crate::licensing::key_sets;

/// Maximum number of consecutive calls for key sets; the next call continues from there.
const MAX_CALLS: usize = 16;

/// Asks for newer key sets, and follows them; answers whether there were any.
pub async fn catch_up(app: &App) -> bool {
    let mut has_advanced = false;
    for _ in 0..MAX_CALLS {
        let Some(version) = app.keys.version() else {
            break;
        };
        let reply = app.upstream.key_sets(version).await;
        let answer = match contact::key_sets(&reply) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(%error, "failed to fetch newer key sets");
                break;
            }
        };
        if !key_sets::go_on(app, &answer.documents) {
            break;
        }
        has_advanced = true;
        if answer.newest <= app.keys.version() {
            break;
        }
    }
    if !has_advanced {
        return false;
    }
    if let Err(error) = key_sets::store(&app.store.db(), app).await {
        tracing::warn!(%error, "failed to store the new key sets, keeping them in the local copy");
    }
    keep(app).await;
    if is_revoked(app, &app.snapshot().evidence) {
        app.note_call(Calls::validation_wanted);
    }
    true
}

/// Whether the cached license was signed by a key that is no longer trusted.
#[must_use]
pub fn is_revoked(app: &App, evidence: &Evidence) -> bool {
    let trust = app.keys.trust();
    match (&**trust, &evidence.lease) {
        (Trust::Keys(keyring), Some(Lease::Signed(document))) => {
            key_id(document.jws()).is_some_and(|kid| keyring.is_revoked(&kid))
        }
        _ => false,
    }
}
