//! Follows the vendor's key sets.
//!
//! Every signed response from the License Server names its newest set. A client with an older set,
//! or one that encounters an unknown key, requests the signed sets in between, and follows them as
//! far as they are valid. The size of a response is limited, so the client repeats the request as
//! long as it makes progress.

use license_core::response;
use license_core::schedule::calls::Calls;

use crate::app::App;

/// Maximum number of consecutive calls for key sets; the next call continues from there.
const MAX_CALLS: usize = 16;

/// Requests newer key sets, and follows them; returns whether there were any.
pub async fn catch_up(app: &App) -> bool {
    let mut has_advanced = false;
    for _ in 0..MAX_CALLS {
        let Some(version) = app.keys.version() else {
            break;
        };
        let reply = app.upstream.key_sets(version).await;
        let answer = match response::key_sets(&reply) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(%error, "failed to fetch newer key sets");
                break;
            }
        };
        if !app.knowledge.advance_keys(&answer.documents) {
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
    if let Err(error) = app.knowledge.store_key_sets().await {
        tracing::warn!(%error, "failed to store the new key sets, keeping them in the local copy");
    }
    app.knowledge.write_local_copy().await;
    if app.knowledge.is_license_revoked() {
        app.knowledge.note_call(Calls::validation_wanted);
    }
    true
}
