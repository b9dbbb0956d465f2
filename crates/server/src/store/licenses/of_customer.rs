//! The customers of licenses. A row holds the name of its customer, as documents carry it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use license_core::amendment::Amendment;
use license_core::folded_text::folded;
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _};

use super::{Column, Entity, License};
use crate::store::{StoreError, customers};

/// The same license with what is in force at `now` of its amendments, which are all of them, in the
/// order of their numbers, and with the name of its customer.
///
/// # Errors
/// If the database returns an error.
pub async fn amended(
    db: &impl ConnectionTrait,
    license: License,
    amendments: &[Amendment],
    now: DateTime<Utc>,
) -> Result<License, StoreError> {
    let before = license.customer_id.clone();
    let license = license.amended(amendments, now);
    match license.customer_id == before {
        true => Ok(license),
        false => with_customer(db, license).await,
    }
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

/// Licenses of a customer with greater ids than `after`, in the order of their ids.
///
/// # Errors
/// If the database returns an error.
pub async fn of_customer(
    db: &impl ConnectionTrait,
    customer: &str,
    after: Option<&str>,
    most: u64,
) -> Result<Vec<License>, StoreError> {
    let mut found = Entity::find().filter(Column::CustomerId.eq(customer));
    if let Some(after) = after {
        found = found.filter(Column::Id.gt(after));
    }
    let rows = found.order_by_asc(Column::Id).limit(most).all(db).await?;
    rows.into_iter().map(License::try_from).collect()
}

/// The numbers of licenses of these customers, without those that have none.
///
/// # Errors
/// If the database returns an error.
pub async fn count_of_customers(
    db: &impl ConnectionTrait,
    customers: Vec<String>,
) -> Result<HashMap<String, u64>, StoreError> {
    let counted: Vec<(String, i64)> = Entity::find()
        .select_only()
        .column(Column::CustomerId)
        .column_as(Column::Id.count(), "licenses")
        .filter(Column::CustomerId.is_in(customers))
        .group_by(Column::CustomerId)
        .into_tuple()
        .all(db)
        .await?;
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
    Entity::update_many()
        .col_expr(Column::Customer, name.into())
        .col_expr(Column::CustomerFolded, folded(name).into())
        .col_expr(Column::UpdatedAt, now.naive_utc().into())
        .filter(Column::CustomerId.eq(customer))
        .exec(db)
        .await?;
    Ok(())
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
    Entity::update_many()
        .col_expr(Column::CustomerId, to.into())
        .col_expr(Column::Customer, name.into())
        .col_expr(Column::CustomerFolded, folded(name).into())
        .filter(Column::CustomerId.eq(from))
        .exec(db)
        .await?;
    Ok(())
}
