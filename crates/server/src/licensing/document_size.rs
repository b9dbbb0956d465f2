//! Whether sites can read the documents of a license.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use license_core::amendment::{Amendment, State, documents, judged_at};
use license_core::document::MAX_LICENSE_BYTES;
use license_core::entitlement::Entitlement;
use serde_json::{Map, Value};

use crate::licensing::document::{license_object, with_entitlements};
use crate::licensing::evaluation::{Evaluating, evaluated};
use crate::store::customers::Customer;
use crate::store::licenses::{self, License};
use crate::store::{Store, StoreError};

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
/// takes effect later, also if a first activation has set its end. `customer` is a
/// customer who is not stored yet.
///
/// # Errors
/// [`SizeError`].
pub async fn check_sizes(
    store: &Store,
    license: &License,
    amendments: Arc<[Amendment]>,
    customer: Option<&Customer>,
    now: DateTime<Utc>,
) -> Result<(), SizeError> {
    let db = store.reader();
    let lists = evaluated(store, move |_| lists(&amendments, now)).await?;
    let mut listed = Vec::new();
    for (place, (state, list)) in lists.into_iter().enumerate() {
        listed.push(match place {
            0 if license.is_plain => (license.clone(), license.entitlements(&[], now)),
            0 => (license.clone(), list),
            _ => (
                licenses::in_state(db, license, state, customer).await?,
                list,
            ),
        });
    }
    let checked = move |_: &Evaluating| {
        listed
            .iter()
            .try_for_each(|(license, list)| check(license, list))
    };
    Ok(evaluated(store, checked).await??)
}

/// What the documents of a license list in each of its states, up to the first list that is certainly
/// too long.
fn lists(amendments: &[Amendment], now: DateTime<Utc>) -> Vec<(State, Vec<Entitlement>)> {
    const MIN_ENTRY_BYTES: usize = r#"{"key":"a"}"#.len();
    let mut lists = Vec::new();
    for (state, list) in documents(amendments, judged_at(amendments, now)) {
        let is_too_long = list.len() > MAX_LICENSE_BYTES / MIN_ENTRY_BYTES;
        lists.push((state, list));
        if is_too_long {
            break;
        }
    }
    lists
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
