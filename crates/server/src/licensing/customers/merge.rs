//! Merge a customer into another one.
//!
//! First the record of the one points to the other, so that nobody can get a license for it any
//! more. Then each license is amended. If this is interrupted, repeating the merge does the rest;
//! in between, every license belongs to one of the two.

use license_core::license_key::mask;
use license_core::license_state::LicenseState;
use license_service::database::repeated;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{CustomerError, LICENSES_AT_A_TIME, check_documents, look_up};
use crate::audit::{Action, Change, PermittedChange};
use crate::licensing::amend::{AmendError, AmendRequest, Amended, amend_held, note_stored};
use crate::licensing::current::current;
use crate::licensing::look_up::LookUpError;
use crate::store::customers::{self, Customer};
use crate::store::licenses::{self, License, Search};
use crate::store::page::PageStart;
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
    /// Why.
    pub why: String,
}

/// Merges the customer `from` into the customer `into`; both are an id, a name or a reference. With
/// `is_dry_run`, nothing is changed.
///
/// # Errors
/// If either does not exist, both are the same, one was merged into another one, or the database
/// returns an error; [`CustomerError::TooLong`] if no site could read the documents of a license with
/// the other name. Nothing is moved then.
pub async fn merge(
    store: &Store,
    from: &str,
    into: &str,
    is_dry_run: bool,
    change: &PermittedChange,
) -> Result<Merged, CustomerError> {
    if is_dry_run {
        return preview(store, from, into, change).await;
    }
    let (from, into) = repeated(|| redirect(store, from, into, change)).await?;
    let mut merged = Merged {
        stored: true,
        customer: into,
        amended: 0,
        not_amended: Vec::new(),
    };
    let mut after: Option<String> = None;
    loop {
        let db = store.reader();
        let found = licenses::of_customer(db, &from.id, after.as_deref(), LICENSES_AT_A_TIME);
        let found = found.await?;
        let Some(last) = found.last() else { break };
        after = Some(last.id.clone());
        for license in found {
            assign(store, &license, &from.id, &mut merged, change).await?;
        }
    }
    repeated(|| move_rest(store, &from.id, &merged.customer.id, change)).await?;
    let (from, into) = (from.id, &merged.customer.id);
    tracing::info!(from, into, amended = merged.amended, "customer merged");
    Ok(merged)
}

/// Moves the licenses that cannot be amended.
async fn move_rest(
    store: &Store,
    from: &str,
    into: &str,
    change: &Change,
) -> Result<(), CustomerError> {
    let transaction = store.begin().await?;
    change.check_author(&transaction).await?;
    customers::hold(&transaction, into).await?;
    let into = look_up(&transaction, into).await?;
    // They may have been amended since the merge began.
    check_documents(&transaction, from, &into.name, change.at).await?;
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
    change: &PermittedChange,
) -> Result<(), CustomerError> {
    let into = &merged.customer.id;
    match repeated(|| try_assign(store, license, from, into, change)).await {
        Ok(Some(amended)) => {
            note_stored(&amended);
            merged.amended += 1;
        }
        Ok(None) => {}
        Err(AmendError::Store(error) | AmendError::LookUp(LookUpError::Store(error))) => {
            return Err(error.into());
        }
        Err(error) => merged
            .not_amended
            .push(NotAmended::of(license, error.to_string())),
    }
    Ok(())
}

async fn try_assign(
    store: &Store,
    license: &License,
    from: &str,
    into: &str,
    change: &PermittedChange,
) -> Result<Option<Amended>, AmendError> {
    let (transaction, license) = store.hold(license.clone()).await?;
    let license = current(&transaction, license, change.at).await?;
    if license.customer_id.as_deref() != Some(from) {
        return Ok(None);
    }
    let request = AmendRequest {
        customer: Some(into.to_owned()),
        reason: Some(REASON.to_owned()),
        ..AmendRequest::default()
    };
    let amended = amend_held(&transaction, license, &request, change).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(Some(amended))
}

impl NotAmended {
    fn of(license: &License, why: String) -> Self {
        Self {
            license_id: license.id.clone(),
            license_key: mask(&license.license_key),
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
    check_documents(db, &from.id, &into.name, change.at).await?;
    let search = |state| Search {
        customer_id: Some(from.id.clone()),
        state,
        ..Search::default()
    };
    let all = licenses::count(db, &search(None)).await?;
    let mut not_amended = Vec::new();
    let start = PageStart::default();
    let revoked = search(Some((LicenseState::Revoked, change.at)));
    for license in licenses::list(db, &revoked, &start, licenses::MAX_LISTED).await? {
        not_amended.push(NotAmended::of(&license, AmendError::Revoked.to_string()));
    }
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
    change: &Change,
) -> Result<(Customer, Customer), CustomerError> {
    let transaction = store.begin().await?;
    let mut ids = [
        look_up(&transaction, from).await?.id,
        look_up(&transaction, into).await?.id,
    ];
    let [from, into] = ids.clone();
    // In the same order in every process.
    ids.sort_unstable();
    for id in &ids {
        customers::hold(&transaction, id).await?;
    }
    let from = look_up(&transaction, &from).await?;
    let into = look_up(&transaction, &into).await?;
    check(&from, &into)?;
    check_documents(&transaction, &from.id, &into.name, change.at).await?;
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
