//! `customers`: who buys licenses. A record that was merged into another one stays, and points to
//! it.

mod search;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use license_core::customer_id::{is_id, name_key};
use license_core::folded_text::folded;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{LockType, OnConflict};
use sea_orm::{ActiveValue, Condition, ConnectionTrait, EntityTrait, QuerySelect as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::StoreError;
use super::parts::in_parts;
pub use search::{
    CustomersCursor, CustomersSearch, CustomersSort, NamedCustomer, count, list, named,
};

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "customers")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    id: String,
    name: String,
    name_folded: String,
    name_key: String,
    reference: Option<String>,
    reference_key: Option<String>,
    contacts: Json,
    notes: String,
    merged_into: Option<String>,
    created_at: NaiveDateTime,
    updated_at: NaiveDateTime,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&[Column::Id], &[Column::NameKey], &[Column::Reference]])
}

/// A customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Customer {
    /// `cus_` and 32 hexadecimal digits.
    pub id: String,
    /// The name that licenses carry. No other customer can have the same name, regardless of case.
    pub name: String,
    /// The vendor's own reference, such as the customer number in the accounting system. No other
    /// customer can have it as a reference or as a name.
    pub reference: Option<String>,
    /// The contacts.
    pub contacts: Vec<Contact>,
    /// Free-text notes.
    pub notes: String,
    /// The id of the customer that this record was merged into.
    pub merged_into: Option<String>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// A contact of a customer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// The name.
    #[serde(default)]
    pub name: String,
    /// The e-mail address.
    #[serde(default)]
    pub email: Option<String>,
    /// The telephone number.
    #[serde(default)]
    pub phone: Option<String>,
}

/// Adds a customer; returns whether there was none with this name or reference.
///
/// # Errors
/// If the database returns an error.
pub async fn insert(db: &impl ConnectionTrait, customer: &Customer) -> Result<bool, StoreError> {
    // Waits for others that add the same name, and does not fail: PostgreSQL would end the
    // transaction.
    let is_there = OnConflict::new().do_nothing().to_owned();
    let insert = Entity::insert(row(customer)?).on_conflict(is_there);
    let existing = Condition::any()
        .add(Column::Id.eq(&customer.id))
        .add(Column::NameKey.eq(name_key(&customer.name).unwrap_or_default()))
        .add_option(
            customer
                .reference
                .as_ref()
                .map(|it| Column::Reference.eq(it)),
        );
    Ok(writes::insert_if_missing(db, insert, existing).await?)
}

/// Stores a customer that is locked.
///
/// # Errors
/// If the database returns an error, for example because another one has the name.
pub async fn save(db: &impl ConnectionTrait, customer: &Customer) -> Result<(), StoreError> {
    Ok(writes::save(db, &row(customer)?).await?)
}

fn row(customer: &Customer) -> Result<ActiveModel, StoreError> {
    let contacts = serde_json::to_value(&customer.contacts);
    let contacts = contacts.map_err(|error| DbErr::Json(error.to_string()))?;
    Ok(ActiveModel {
        id: ActiveValue::Set(customer.id.clone()),
        name: ActiveValue::Set(customer.name.clone()),
        name_folded: ActiveValue::Set(folded(&customer.name)),
        name_key: ActiveValue::Set(name_key(&customer.name).unwrap_or_default()),
        reference: ActiveValue::Set(customer.reference.clone()),
        reference_key: ActiveValue::Set(customer.reference.as_deref().and_then(name_key)),
        contacts: ActiveValue::Set(contacts),
        notes: ActiveValue::Set(customer.notes.clone()),
        merged_into: ActiveValue::Set(customer.merged_into.clone()),
        created_at: ActiveValue::Set(customer.created_at.naive_utc()),
        updated_at: ActiveValue::Set(customer.updated_at.naive_utc()),
    })
}

/// The customer with this id.
///
/// # Errors
/// If the database returns an error.
pub async fn find_by_id(
    db: &impl ConnectionTrait,
    id: &str,
) -> Result<Option<Customer>, StoreError> {
    let row = Entity::find_by_id(id).one(db).await?;
    row.map(Customer::try_from).transpose()
}

/// The customer with this id, or the one that it was merged into.
///
/// # Errors
/// If the database returns an error.
pub async fn find_merged(
    db: &impl ConnectionTrait,
    id: &str,
) -> Result<Option<Customer>, StoreError> {
    let found = find_by_id(db, id).await?;
    match found.as_ref().and_then(|it| it.merged_into.as_deref()) {
        // A merge redirects all records that were merged before.
        Some(into) => find_by_id(db, into).await,
        None => Ok(found),
    }
}

/// The customer with this id; or else the one with this name and, if that is another one, the one
/// with this reference, which may also have been merged. References that are only similar to the
/// name count if a customer has the name.
///
/// # Errors
/// If the database returns an error.
pub async fn find(db: &impl ConnectionTrait, text: &str) -> Result<Vec<Customer>, StoreError> {
    // PostgreSQL does not accept NUL, and no text here contains one.
    let text = text.trim().replace('\0', "");
    if is_id(&text) {
        return Ok(find_by_id(db, &text).await?.into_iter().collect());
    }
    let Some(key) = name_key(&text) else {
        return Ok(Vec::new());
    };
    let named = Entity::find().filter(Column::NameKey.eq(&key));
    let mut rows: Vec<Model> = named.one(db).await?.into_iter().collect();
    let referenced = match rows.first() {
        Some(named) => Entity::find()
            .filter(Column::ReferenceKey.eq(key))
            .filter(Column::Id.ne(&named.id)),
        None => Entity::find().filter(Column::Reference.eq(text)),
    };
    rows.extend(referenced.one(db).await?);
    rows.into_iter().map(Customer::try_from).collect()
}

/// Another customer that has the name of this one as its reference, or its reference as a name.
///
/// # Errors
/// If the database returns an error.
pub async fn confused_with(
    db: &impl ConnectionTrait,
    customer: &Customer,
) -> Result<Option<Customer>, StoreError> {
    let reference = customer.reference.as_deref().and_then(name_key);
    let confused = Condition::any()
        .add(Column::ReferenceKey.eq(name_key(&customer.name)))
        .add_option(reference.map(|key| Column::NameKey.eq(key)));
    let found = Entity::find()
        .filter(confused)
        .filter(Column::Id.ne(&customer.id));
    found.one(db).await?.map(Customer::try_from).transpose()
}

/// Whether another customer than this one has a reference.
///
/// # Errors
/// If the database returns an error.
pub async fn has_reference(
    db: &impl ConnectionTrait,
    reference: &str,
    except: &str,
) -> Result<bool, StoreError> {
    let found = Entity::find()
        .filter(Column::Reference.eq(reference))
        .filter(Column::Id.ne(except));
    Ok(found.one(db).await?.is_some())
}

/// Locks a customer until the transaction ends: its name stays what it is. To be called before the
/// customer is read.
///
/// # Errors
/// If the database returns an error.
pub async fn hold(db: &impl ConnectionTrait, id: &str) -> Result<(), StoreError> {
    // On SQLite, the transaction already has exclusive access to the file.
    Entity::find_by_id(id)
        .lock(LockType::NoKeyUpdate)
        .one(db)
        .await?;
    Ok(())
}

/// Makes the records that were merged into a customer point to the one that it is merged into.
///
/// # Errors
/// If the database returns an error.
pub async fn redirect(db: &impl ConnectionTrait, from: &str, to: &str) -> Result<(), StoreError> {
    let values = vec![(Column::MergedInto, to.into())];
    Ok(writes::update_all::<Entity>(db, Column::MergedInto.eq(from), values).await?)
}

/// The names of customers, by their ids.
///
/// # Errors
/// If the database returns an error.
pub async fn names(
    db: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = String>,
) -> Result<BTreeMap<String, String>, StoreError> {
    let named = in_parts(ids, |part| {
        let found = Entity::find().filter(part.has(Column::Id));
        let names = found.select_only().columns([Column::Id, Column::Name]);
        names.into_tuple().all(db)
    });
    Ok(named.await?.into_iter().collect())
}

impl TryFrom<Model> for Customer {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let contacts = row.contacts.to_string();
        let contacts = serde_json::from_value(row.contacts).map_err(|_| StoreError::Value {
            column: "customers.contacts",
            value: contacts,
        });
        Ok(Self {
            id: row.id,
            name: row.name,
            reference: row.reference,
            contacts: contacts?,
            notes: row.notes,
            merged_into: row.merged_into,
            created_at: row.created_at.and_utc(),
            updated_at: row.updated_at.and_utc(),
        })
    }
}
