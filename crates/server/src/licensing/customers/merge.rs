//! Merge a customer into another one.
//!
//! First the record of the one points to the other, so that nobody can get a license for it any
//! more. Then each license is amended, in a transaction of its own, at the time of that transaction:
//! the merge ends when the author's token does. If it is interrupted, repeating it does the rest; in
//! between, every license belongs to one of the two.

use license_core::license_key::mask;
use license_core::license_state::LicenseState;
use license_service::database::repeated;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::documents::{CheckedDocuments, LICENSES_AT_A_TIME};
use super::{CustomerError, hold_for_customer, look_up};
use crate::audit::{Action, Author, Change};
use crate::keyed_call::may_be_repeated;
use crate::licensing::amend::{AmendRequest, Amended, Requested, note_stored};
use crate::licensing::amend_error::AmendError;
use crate::licensing::current::current;
use crate::licensing::evaluation::in_turn;
use crate::licensing::look_up::LookUpError;
use crate::store::customers::{self, Customer};
use crate::store::licenses::{self, License, Search};
use crate::store::{Store, StoreError};

/// The reason of the amendments.
const REASON: &str = "merged";

/// What a merge has done, or would do.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Merged {
    /// Whether it was done; false for a dry run.
    pub stored: bool,
    /// The customer that remains.
    pub customer: Customer,
    /// The number of licenses that were amended to belong to it.
    pub amended: u64,
    /// The licenses that cannot be amended, such as revoked ones. They belong to it, too.
    pub not_amended: Vec<NotAmended>,
}

/// A license that cannot be amended.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotAmended {
    /// The id of the license.
    pub license_id: String,
    /// The masked license key.
    pub license_key: String,
    /// Why it cannot be amended.
    pub why: String,
}

/// Merges the customer `from` into the customer `into`; both are an id, a name or a reference. With
/// `is_dry_run`, nothing is changed.
///
/// # Errors
/// If either does not exist, both are the same, one was merged into another one, or the database
/// returns an error; [`CustomerError::TooLong`] if no site could read the documents of a license with
/// the other name. Nothing is moved then. [`CustomerError::Interrupted`] if only some licenses were
/// moved.
pub async fn merge(
    store: &Store,
    from: &str,
    into: &str,
    is_dry_run: bool,
    author: &Author<'_>,
) -> Result<Merged, CustomerError> {
    if is_dry_run {
        let change = author.change()?;
        return preview(store, from, into, &change).await;
    }
    let (from, into) = repeated(|| redirect(store, from, into, author)).await?;
    let mut merged = Merged {
        stored: true,
        customer: into,
        amended: 0,
        not_amended: Vec::new(),
    };
    let moving = move_licenses(store, &from.id, &mut merged, author);
    if let Err(error) = moving.await {
        let (amended, from) = (merged.amended, from.id);
        tracing::warn!(from, amended, %error, "the merge of a customer was interrupted");
        may_be_repeated(store.reader()).await;
        return Err(CustomerError::Interrupted {
            moved: amended,
            error: Box::new(error),
        });
    }
    let (from, into) = (from.id, &merged.customer.id);
    tracing::info!(from, into, amended = merged.amended, "customer merged");
    Ok(merged)
}

/// Moves all licenses of a customer, and counts them.
async fn move_licenses(
    store: &Store,
    from: &str,
    merged: &mut Merged,
    author: &Author<'_>,
) -> Result<(), CustomerError> {
    let mut after: Option<String> = None;
    loop {
        let db = store.reader();
        let found = licenses::of_customer(db, from, after.as_deref(), LICENSES_AT_A_TIME);
        let found = found.await?;
        let Some(last) = found.rows.last() else {
            break;
        };
        after = Some(last.id.clone());
        for license in found.rows {
            assign(store, &license, from, merged, author).await?;
        }
    }
    let into = &merged.customer.id;
    repeated(|| move_rest(store, from, into, author)).await
}

/// Moves the licenses that cannot be amended.
async fn move_rest(
    store: &Store,
    from: &str,
    into: &str,
    author: &Author<'_>,
) -> Result<(), CustomerError> {
    // They may have been amended since the merge began.
    let known = look_up(store.reader(), into).await?;
    let mut documents = CheckedDocuments::default();
    let now = author.change()?.at;
    documents.check(store, from, &known.name, now).await?;
    let transaction = store.begin().await?;
    let change = author.change()?;
    change.check_author(&transaction).await?;
    customers::hold(&transaction, into).await?;
    let into = look_up(&transaction, into).await?;
    if !documents.cover(&transaction, from, &into.name).await? {
        return Err(StoreError::changed().into());
    }
    licenses::move_customer(&transaction, from, &into.id, &into.name).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(())
}

/// Amends a license to belong to the customer that is left. One that was given to another customer
/// since it was listed stays there.
async fn assign(
    store: &Store,
    license: &License,
    from: &str,
    merged: &mut Merged,
    author: &Author<'_>,
) -> Result<(), CustomerError> {
    let into = &merged.customer.id;
    match repeated(|| try_assign(store, license, from, into, author)).await {
        Ok(Some(amended)) => {
            note_stored(&amended);
            merged.amended += 1;
        }
        Ok(None) => {}
        Err(AssignError::Interrupted(error)) => return Err(error),
        Err(AssignError::Refused(why)) => {
            let (id, key) = (license.id.clone(), &license.license_key);
            merged.not_amended.push(NotAmended::of(id, key, why));
        }
    }
    Ok(())
}

/// Why a license was not amended.
#[derive(Debug, thiserror::Error)]
enum AssignError {
    /// No other license would be, either.
    #[error(transparent)]
    Interrupted(CustomerError),
    /// This one cannot be.
    #[error("{0}")]
    Refused(String),
}

impl<E: Into<AmendError>> From<E> for AssignError {
    fn from(error: E) -> Self {
        match error.into() {
            AmendError::Store(error) | AmendError::LookUp(LookUpError::Store(error)) => {
                Self::Interrupted(error.into())
            }
            error => Self::Refused(error.to_string()),
        }
    }
}

async fn try_assign(
    store: &Store,
    license: &License,
    from: &str,
    into: &str,
    author: &Author<'_>,
) -> Result<Option<Amended>, AssignError> {
    let (_turn, license) = store.turn_to_amend(license.clone()).await?;
    let change = author.change();
    let change = &change.map_err(|doubt| AssignError::Interrupted(doubt.into()))?;
    let now = current(store.reader(), license.clone(), change.at).await?;
    if now.customer_id.as_deref() != Some(from) {
        return Ok(None);
    }
    let request = AmendRequest {
        customer: Some(into.to_owned()),
        reason: Some(REASON.to_owned()),
        ..AmendRequest::default()
    };
    let preparing = Requested::prepare(store, license.clone(), &request, change);
    let requested = in_turn(store, preparing).await?;
    let (transaction, license) = hold_for_customer(store, license, Some(into)).await?;
    let amended = requested.store(&transaction, &license, change).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(Some(amended))
}

impl NotAmended {
    fn of(license_id: String, license_key: &str, why: String) -> Self {
        Self {
            license_id,
            license_key: mask(license_key),
            why,
        }
    }
}

async fn preview(
    store: &Store,
    from: &str,
    into: &str,
    change: &Change,
) -> Result<Merged, CustomerError> {
    let db = store.reader();
    let (from, into) = (look_up(db, from).await?, look_up(db, into).await?);
    check(&from, &into)?;
    let mut documents = CheckedDocuments::default();
    let checking = documents.check(store, &from.id, &into.name, change.at);
    checking.await?;
    let search = |state| Search {
        customer_id: Some(from.id.clone()),
        state,
        ..Search::default()
    };
    let all = licenses::count(db, &search(None)).await?;
    let revoked = search(Some((LicenseState::Revoked, change.at)));
    let keys = licenses::keys(db, &revoked).await?.into_iter();
    let not_amended = keys.map(|(id, key)| {
        let why = AmendError::Revoked.to_string();
        NotAmended::of(id, &key, why)
    });
    let not_amended = not_amended.collect();
    let revoked = licenses::count(db, &revoked).await?;
    Ok(Merged {
        stored: false,
        customer: into,
        amended: all.saturating_sub(revoked),
        not_amended,
    })
}

/// Makes the record of one customer point to the other.
async fn redirect(
    store: &Store,
    from: &str,
    into: &str,
    author: &Author<'_>,
) -> Result<(Customer, Customer), CustomerError> {
    let db = store.reader();
    let (from, into) = (look_up(db, from).await?, look_up(db, into).await?);
    check(&from, &into)?;
    // Each license is checked again when it is amended.
    let now = author.change()?.at;
    let mut documents = CheckedDocuments::default();
    documents.check(store, &from.id, &into.name, now).await?;
    let transaction = store.begin().await?;
    let change = author.change()?;
    let mut ids = [from.id, into.id];
    let [from, into] = ids.clone();
    // In the same order in every process.
    ids.sort_unstable();
    for id in &ids {
        customers::hold(&transaction, id).await?;
    }
    let from = look_up(&transaction, &from).await?;
    let into = look_up(&transaction, &into).await?;
    check(&from, &into)?;
    if from.merged_into.is_some() {
        return Ok((from, into));
    }
    let from = Customer {
        merged_into: Some(into.id.clone()),
        updated_at: change.at,
        ..from
    };
    customers::save(&transaction, &from).await?;
    customers::redirect(&transaction, &from.id, &into.id).await?;
    let details = json!({"name": from.name, "into": into.id, "intoName": into.name});
    change
        .note_other(&transaction, Action::CustomerMerged, &from.id, details)
        .await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok((from, into))
}

/// Whether one customer can be merged into the other, or was, which is then completed.
fn check(from: &Customer, into: &Customer) -> Result<(), CustomerError> {
    if from.id == into.id {
        return Err(CustomerError::Itself);
    }
    for (customer, may_point_to) in [(from, Some(&into.id)), (into, None)] {
        if let Some(other) = &customer.merged_into
            && Some(other) != may_point_to
        {
            return Err(CustomerError::Merged {
                id: customer.id.clone(),
                into: other.clone(),
            });
        }
    }
    Ok(())
}
