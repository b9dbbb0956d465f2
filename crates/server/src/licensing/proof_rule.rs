//! Require a proof of the installation key for calls about a license, or stop requiring it.

use license_service::database::repeated;
use serde_json::json;

use crate::audit::{Action, Change};
use crate::licensing::changed_license;
use crate::licensing::look_up::{LookUpError, look_up};
use crate::store::Store;
use crate::store::licenses::{self, License};

/// Requires proofs for a license, or stops requiring them. Setting the same rule again changes nothing. License
/// Clients that send no proofs, such as version 1.0.0, get no answers while proofs are required, and
/// their sites lapse when their leases have ended.
///
/// # Errors
/// If the license does not exist, or the database returns an error.
pub async fn require_proof(
    store: &Store,
    license: &str,
    is_required: bool,
    change: &Change,
) -> Result<License, LookUpError> {
    repeated(|| try_require_proof(store, license, is_required, change)).await
}

async fn try_require_proof(
    store: &Store,
    license: &str,
    is_required: bool,
    change: &Change,
) -> Result<License, LookUpError> {
    let license = look_up(store, license).await?;
    let (transaction, license) = store.hold(license).await?;
    if license.requires_proof == is_required {
        return Ok(license);
    }
    let key = &license.license_key;
    licenses::set_requires_proof(&transaction, key, is_required, change.at).await?;
    let details = json!({"required": is_required});
    let action = Action::ProofRuleChanged;
    change.note(&transaction, action, &license, details).await?;
    let license = License {
        requires_proof: is_required,
        updated_at: change.at,
        ..license
    };
    changed_license::commit(transaction, &license, change).await?;
    let license_key = license_core::license_key::mask(&license.license_key);
    tracing::info!(
        license_key,
        is_required,
        "whether proofs are required was changed"
    );
    Ok(license)
}
