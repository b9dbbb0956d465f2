//! The customers and plans of licenses. A row holds the name of its customer, as documents carry it,
//! and whether its plan is for trying the product out.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use license_core::amendment::{Amendment, State};
use license_core::folded_text::folded;
use license_core::plan::PlanChoice;
use license_core::signing_clock::SigningTime;
use license_service::database::writes;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _};

use super::{Column, Entity, License};
use crate::store::customers::Customer;
use crate::store::page::Page;
use crate::store::page_bytes::page;
use crate::store::parts::in_parts;
use crate::store::{StoreError, customers, plans};

/// The same license with what is in force at `now` of its amendments, which are all of them, in the
/// order of their numbers, with the name of its customer and what is known of its plan.
///
/// # Errors
/// If the database returns an error.
pub async fn amended(
    db: &impl ConnectionTrait,
    license: License,
    amendments: &[Amendment],
    now: DateTime<Utc>,
) -> Result<License, StoreError> {
    previewed(db, license, amendments, None, now).await
}

/// The same with a customer who is not stored yet.
///
/// # Errors
/// If the database returns an error.
pub async fn previewed(
    db: &impl ConnectionTrait,
    license: License,
    amendments: &[Amendment],
    customer: Option<&Customer>,
    now: DateTime<Utc>,
) -> Result<License, StoreError> {
    let amended = license.clone().amended(amendments, now);
    with_names(db, &license, amended, customer).await
}

/// The same license as it will be in a later state. Its amendments are those of the present one.
/// `customer` is a customer who is not stored yet.
///
/// # Errors
/// If the database returns an error.
pub async fn in_state(
    db: &impl ConnectionTrait,
    license: &License,
    state: State,
    customer: Option<&Customer>,
) -> Result<License, StoreError> {
    let later = license.clone().consisting_of(state.contents, state.from);
    with_names(db, license, later, customer).await
}

/// A license with what is known of its customer and its plan, where they differ from `before`.
/// `customer` is a customer who is not stored yet.
async fn with_names(
    db: &impl ConnectionTrait,
    before: &License,
    mut license: License,
    customer: Option<&Customer>,
) -> Result<License, StoreError> {
    if license.plan != before.plan {
        license = with_plan(db, license).await?;
    }
    if license.customer_id == before.customer_id {
        return Ok(license);
    }
    match customer.filter(|it| Some(&it.id) == license.customer_id.as_ref()) {
        Some(customer) => Ok(License {
            customer: customer.name.clone(),
            ..license
        }),
        None => with_customer(db, license).await,
    }
}

/// A license as its amendments add up at a time at which the clock is trusted. Only [`judged`] and
/// [`judged_as`] create one.
#[derive(Clone, Debug)]
pub struct Judged {
    license: License,
    at: SigningTime,
}

impl Judged {
    /// The license.
    #[must_use]
    pub fn license(&self) -> &License {
        &self.license
    }

    /// The same, changed by the vendor at that time.
    #[must_use]
    pub fn changed(self) -> Self {
        Self {
            license: License {
                updated_at: self.at.instant(),
                ..self.license
            },
            ..self
        }
    }
}

/// The same as [`amended`], to be stored in this transaction. Locks the customer if the license had
/// another one before: a new name of the customer is then in either this license or the list of
/// licenses that get the name.
///
/// # Errors
/// If the database returns an error.
pub async fn judged(
    db: &impl ConnectionTrait,
    license: License,
    amendments: &[Amendment],
    at: SigningTime,
) -> Result<Judged, StoreError> {
    let before = license.customer_id.clone();
    let license = amended(db, license, amendments, at.instant()).await?;
    let license = match license.customer_id.as_deref() {
        Some(id) if Some(id) != before.as_deref() => {
            customers::hold(db, id).await?;
            with_customer(db, license).await?
        }
        _ => license,
    };
    Ok(Judged { license, at })
}

/// The same for a license that [`previewed`] has returned for that time, before the row `held` was
/// locked. `None` if its customer now has another name, or was merged into another one.
///
/// # Errors
/// If the database returns an error.
pub async fn judged_as(
    db: &impl ConnectionTrait,
    held: &License,
    license: License,
    at: SigningTime,
) -> Result<Option<Judged>, StoreError> {
    if license.customer_id == held.customer_id {
        return Ok(Some(Judged { license, at }));
    }
    if let Some(id) = &license.customer_id {
        customers::hold(db, id).await?;
    }
    let named = with_customer(db, license.clone()).await?;
    Ok((named == license).then_some(Judged { license, at }))
}

/// The license with the name of its customer, or of the one that the customer was merged into.
///
/// # Errors
/// If the database returns an error, or there is no such customer.
pub async fn with_customer(
    db: &impl ConnectionTrait,
    license: License,
) -> Result<License, StoreError> {
    let Some(id) = &license.customer_id else {
        return Ok(license);
    };
    let found = customers::find_merged(db, id).await?;
    let customer = found.ok_or_else(|| StoreError::NoCustomer(id.clone()))?;
    Ok(License {
        customer: customer.name,
        customer_id: Some(customer.id),
        ..license
    })
}

/// The license, with whether its plan is for trying the product out. A plan that was never published
/// is not.
///
/// # Errors
/// If the database returns an error.
pub async fn with_plan(db: &impl ConnectionTrait, license: License) -> Result<License, StoreError> {
    let choice = license.plan.parse::<PlanChoice>().ok();
    let plan = match choice {
        Some(choice) => plans::find(db, &choice.name, choice.version).await?,
        None => None,
    };
    Ok(License {
        trial: plan.is_some_and(|it| it.contents.trial),
        ..license
    })
}

/// A page of the licenses of a customer with greater ids than `after`, in the order of their ids.
///
/// # Errors
/// If the database returns an error.
pub async fn of_customer(
    db: &impl ConnectionTrait,
    customer: &str,
    after: Option<&str>,
    most: u64,
) -> Result<Page<License>, StoreError> {
    let mut found = Entity::find().filter(Column::CustomerId.eq(customer));
    if let Some(after) = after {
        found = found.filter(Column::Id.gt(after));
    }
    let found = page(db, found.order_by_asc(Column::Id), most).await?;
    found.try_map(License::try_from)
}

/// The ids of the licenses of a customer, in order, with the numbers of their newest amendments. All of
/// them are locked.
///
/// # Errors
/// If the database returns an error.
pub async fn hold_of_customer(
    db: &impl ConnectionTrait,
    customer: &str,
) -> Result<Vec<(String, u32)>, StoreError> {
    let found = Entity::find()
        .select_only()
        .columns([Column::Id, Column::Amendment])
        .filter(Column::CustomerId.eq(customer))
        .order_by_asc(Column::Id)
        .lock(LockType::NoKeyUpdate);
    let found: Vec<(String, i32)> = found.into_tuple().all(db).await?;
    let numbered = found.into_iter();
    Ok(numbered
        .map(|(id, number)| (id, u32::try_from(number).unwrap_or_default()))
        .collect())
}

/// The numbers of licenses of these customers, without those that have none.
///
/// # Errors
/// If the database returns an error.
pub async fn count_of_customers(
    db: &impl ConnectionTrait,
    customers: Vec<String>,
) -> Result<HashMap<String, u64>, StoreError> {
    let counted = in_parts(customers, |part| {
        Entity::find()
            .select_only()
            .column(Column::CustomerId)
            .column_as(Column::Id.count(), "licenses")
            .filter(part.has(Column::CustomerId))
            .group_by(Column::CustomerId)
            .into_tuple()
            .all(db)
    });
    let counted: Vec<(String, i64)> = counted.await?;
    let number = |(id, count): (String, i64)| (id, u64::try_from(count).unwrap_or_default());
    Ok(counted.into_iter().map(number).collect())
}

/// Stores the new name of a customer, who is locked, in its licenses.
///
/// # Errors
/// If the database returns an error.
pub async fn rename_customer(
    db: &impl ConnectionTrait,
    customer: &str,
    name: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let values = vec![
        (Column::Customer, name.into()),
        (Column::CustomerFolded, folded(name).into()),
        (Column::UpdatedAt, now.naive_utc().into()),
    ];
    Ok(writes::update_all::<Entity>(db, Column::CustomerId.eq(customer), values).await?)
}

/// Gives the licenses of a customer to the one that it was merged into.
///
/// # Errors
/// If the database returns an error.
pub async fn move_customer(
    db: &impl ConnectionTrait,
    from: &str,
    to: &str,
    name: &str,
) -> Result<(), StoreError> {
    let values = vec![
        (Column::CustomerId, to.into()),
        (Column::Customer, name.into()),
        (Column::CustomerFolded, folded(name).into()),
    ];
    Ok(writes::update_all::<Entity>(db, Column::CustomerId.eq(from), values).await?)
}
