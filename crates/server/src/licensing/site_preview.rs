//! Tells a site what a license key grants, before the key replaces another one. It takes no seat, and
//! nothing is signed.

use license_core::license_key::LicenseKey;
use serde_json::{Map, Value};

use crate::app::App;
use crate::licensing::current::{amendments_at, current};
use crate::licensing::document::{license_object, with_entitlements};
use crate::licensing::judge::refusal;
use crate::licensing::refusal::Refused;
use crate::store::{StoreError, licenses};

/// The license with a key, as sites get it, or why it cannot be used: the code of the reason, and a
/// message for the operator of the site.
///
/// # Errors
/// If the database returns an error.
pub async fn previewed(
    app: &App,
    license_key: &str,
) -> Result<Result<Map<String, Value>, (String, String)>, StoreError> {
    let (db, now) = (app.store.reader(), app.clock.now());
    let key = match LicenseKey::parse(license_key) {
        Ok(key) => key,
        Err(fault) => return Ok(Err(Refused::unknown_key(license_key, Some(fault)).words())),
    };
    let Some(license) = licenses::find(db, key.as_str()).await? else {
        return Ok(Err(Refused::unknown_key(license_key, None).words()));
    };
    let license = current(db, license, now).await?;
    if let Some(why) = refusal(license.status, license.expires_at, now) {
        return Ok(Err(Refused::license_status(why, &license, now).words()));
    }
    let mut object = license_object(&license);
    let amendments = amendments_at(db, &license.id, now).await?;
    with_entitlements(&mut object, &license.entitlements(&amendments, now));
    Ok(Ok(object))
}
