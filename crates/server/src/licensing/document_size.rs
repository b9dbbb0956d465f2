//! Whether sites can read the documents of a license.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use license_core::amendment::Amendment;
use license_core::document::MAX_LICENSE_BYTES;
use sea_orm::ConnectionTrait;
use serde_json::{Map, Value};

use crate::licensing::document::{license_object, with_entitlements};
use crate::store::StoreError;
use crate::store::licenses::{self, License};

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
    let later = amendments.iter().map(|it| it.effective_at);
    let later: BTreeSet<DateTime<Utc>> = later.filter(|at| now < *at).collect();
    for at in later {
        let then = licenses::amended(db, license.clone(), amendments, at).await?;
        check_size(&then, amendments, at)?;
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
    let entitlements = license.entitlements(amendments, now);
    let features = entitlements.iter().filter(|it| it.quantity.is_none());
    let largest = License {
        // What starts later is listed then.
        features: features.map(|it| it.key.as_str().to_owned()).collect(),
        expires_at: Some(license.created_at),
        ..license.clone()
    };
    let mut object = license_object(&largest);
    if !license.is_plain {
        with_entitlements(&mut object, &entitlements);
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
