//! Whether sites can read the documents of a license.

use chrono::{DateTime, Utc};
use license_core::amendment::{self, Amendment, states};
use license_core::document::MAX_LICENSE_BYTES;
use license_core::entitlement::Entitlement;
use sea_orm::ConnectionTrait;
use serde_json::{Map, Value};

use crate::licensing::document::{license_object, with_entitlements};
use crate::store::StoreError;
use crate::store::licenses::{self, License, judged_at, listed_later};

/// No site could read the license's documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "with {features} features, the license is {bytes} bytes long; the maximum is \
     {MAX_LICENSE_BYTES}: add fewer features, or features with shorter keys"
)]
pub struct TooLong {
    /// How many features it has.
    pub features: usize,
    /// Size of the license in a document, in bytes of JSON.
    pub bytes: usize,
}

/// Why it is not known that sites can read all documents of a license.
#[derive(Debug, thiserror::Error)]
pub enum SizeError {
    /// They cannot.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks the size of the documents of a license now and after each amendment that is recorded and
/// takes effect later.
///
/// # Errors
/// [`SizeError`].
pub async fn check_sizes(
    db: &impl ConnectionTrait,
    license: &License,
    amendments: &[Amendment],
    now: DateTime<Utc>,
) -> Result<(), SizeError> {
    check_size(license, amendments, now)?;
    let at = judged_at(amendments, now);
    let later = states(amendments, at).into_iter().skip(1);
    let mut coming = Vec::new();
    for (place, state) in later.enumerate() {
        if place == 0 {
            coming = amendment::coming(amendments, at);
        }
        let from = state.from;
        let then = licenses::in_state(db, license, state).await?;
        check(&then, &listed_later(&coming, from, then.expires_at))?;
    }
    Ok(())
}

/// Checks the size of the documents of a license from `now` on, if it is not amended until then, also
/// after it was renewed. `amendments` are needed unless it is plain.
///
/// # Errors
/// [`TooLong`].
pub fn check_size(
    license: &License,
    amendments: &[Amendment],
    now: DateTime<Utc>,
) -> Result<(), TooLong> {
    check(license, &license.entitlements(amendments, now))
}

/// Checks the size of the documents of a license that list these entitlements.
fn check(license: &License, entitlements: &[Entitlement]) -> Result<(), TooLong> {
    let features = entitlements.iter().filter(|it| it.quantity.is_none());
    let largest = License {
        // What starts later is listed then.
        features: features.map(|it| it.key.as_str().to_owned()).collect(),
        expires_at: Some(license.created_at),
        ..license.clone()
    };
    let mut object = license_object(&largest);
    if !license.is_plain {
        with_entitlements(&mut object, entitlements);
    }
    let bytes = bytes(&object);
    if bytes > MAX_LICENSE_BYTES {
        let features = largest.features.len();
        return Err(TooLong { features, bytes });
    }
    Ok(())
}

/// The size of a license object in a document.
pub(super) fn bytes(object: &Map<String, Value>) -> usize {
    serde_json::to_string(object).map_or(usize::MAX, |text| text.len())
}
