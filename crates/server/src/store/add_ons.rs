//! `add_ons`: the issued add-on keys. A row contains the hash of its key, and stays when the key is
//! redeemed or refunded.

use chrono::{DateTime, NaiveDateTime, Utc};
use license_core::add_on::{AddOn, AddOnGrant, Redemption};
use license_core::issued_code::IssuedCode;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, LockType};
use sea_orm::{
    ActiveValue, Condition, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _,
};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::page::Page;
use super::page_bytes::page;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "add_ons")]
pub struct Model {
    #[sea_orm(primary_key)]
    id: i64,
    key_hash: String,
    key_masked: String,
    plan: Option<String>,
    grants: Json,
    order_reference: Option<String>,
    note: Option<String>,
    redeem_by: Option<NaiveDateTime>,
    created_at: NaiveDateTime,
    created_by: String,
    license_id: Option<String>,
    amendment: Option<i32>,
    redeemed_at: Option<NaiveDateTime>,
    redeemed_by: Option<String>,
    refunded_at: Option<NaiveDateTime>,
    refunded_by: Option<String>,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&[Column::KeyHash]])
}

/// An add-on key, without the key itself.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAddOn {
    /// The number of the row; 0 until it is stored.
    pub id: i64,
    /// The beginning and the end of the key.
    pub masked: String,
    /// The plan and its version, if it was issued from one.
    pub plan: Option<String>,
    /// What it grants, and what became of it.
    pub add_on: AddOn,
    /// The reference of the order, which the amendment gets.
    pub order: Option<String>,
    /// For people.
    pub note: Option<String>,
    /// When it was issued …
    pub created_at: DateTime<Utc>,
    /// … and by whom.
    pub created_by: String,
    /// When it was redeemed …
    pub redeemed_at: Option<DateTime<Utc>>,
    /// … and by whom.
    pub redeemed_by: Option<String>,
    /// When it was refunded …
    pub refunded_at: Option<DateTime<Utc>>,
    /// … and by whom.
    pub refunded_by: Option<String>,
}

/// Which add-on keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddOnsQuery {
    /// Only those of the license with this id.
    pub license: Option<String>,
    /// Only those that are in this state.
    pub state: Option<AddOnState>,
    /// Only those that had to be redeemed before this instant.
    pub expired_at: Option<DateTime<Utc>>,
}

/// The state of an add-on key.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum AddOnState {
    /// It was neither redeemed nor refunded.
    Issued,
    /// It was redeemed.
    Redeemed,
    /// It was refunded, before or after it was redeemed.
    Refunded,
}

impl AddOnState {
    /// The text in tables and responses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Redeemed => "redeemed",
            Self::Refunded => "refunded",
        }
    }
}

impl StoredAddOn {
    /// What became of it.
    #[must_use]
    pub fn state(&self) -> AddOnState {
        match (self.add_on.is_refunded, &self.add_on.redeemed) {
            (true, _) => AddOnState::Refunded,
            (false, Some(_)) => AddOnState::Redeemed,
            (false, None) => AddOnState::Issued,
        }
    }
}

/// A position in the list of add-on keys, which begins with the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AddOnsCursor {
    /// Those with lower numbers follow.
    pub below: i64,
}

/// Adds a key; returns it with its number.
///
/// # Errors
/// If the database returns an error, for example because the key exists.
pub async fn insert(
    db: &impl ConnectionTrait,
    key: &IssuedCode,
    stored: StoredAddOn,
) -> Result<StoredAddOn, StoreError> {
    let grants = serde_json::to_value(&stored.add_on.grants);
    let redeem_by = stored.add_on.redeem_by;
    let row = ActiveModel {
        id: ActiveValue::NotSet,
        key_hash: ActiveValue::Set(key.hash()),
        key_masked: ActiveValue::Set(stored.masked.clone()),
        plan: ActiveValue::Set(stored.plan.clone()),
        grants: ActiveValue::Set(grants.map_err(|error| DbErr::Json(error.to_string()))?),
        order_reference: ActiveValue::Set(stored.order.clone()),
        note: ActiveValue::Set(stored.note.clone()),
        redeem_by: ActiveValue::Set(redeem_by.map(|at| at.naive_utc())),
        created_at: ActiveValue::Set(stored.created_at.naive_utc()),
        created_by: ActiveValue::Set(stored.created_by.clone()),
        license_id: ActiveValue::Set(None),
        amendment: ActiveValue::Set(None),
        redeemed_at: ActiveValue::Set(None),
        redeemed_by: ActiveValue::Set(None),
        refunded_at: ActiveValue::Set(None),
        refunded_by: ActiveValue::Set(None),
    };
    let id = writes::insert_for_id(db, Entity::insert(row)).await?;
    Ok(StoredAddOn { id, ..stored })
}

/// The add-on with this key.
///
/// # Errors
/// If the database returns an error, or the row cannot be read.
pub async fn find(
    db: &impl ConnectionTrait,
    key: &IssuedCode,
) -> Result<Option<StoredAddOn>, StoreError> {
    let found = Entity::find().filter(Column::KeyHash.eq(key.hash()));
    let row = found.one(db).await?;
    row.map(StoredAddOn::try_from).transpose()
}

/// The add-on with this number.
///
/// # Errors
/// If the database returns an error, or the row cannot be read.
pub async fn find_by_id(
    db: &impl ConnectionTrait,
    id: i64,
) -> Result<Option<StoredAddOn>, StoreError> {
    let row = Entity::find_by_id(id).one(db).await?;
    row.map(StoredAddOn::try_from).transpose()
}

/// The numbers of the amendments of a license that add-on keys became which were refunded since.
///
/// # Errors
/// If the database returns an error.
pub async fn refunded_amendments(
    db: &impl ConnectionTrait,
    license_id: &str,
) -> Result<Vec<u32>, StoreError> {
    let numbers: Vec<Option<i32>> = Entity::find()
        .select_only()
        .column(Column::Amendment)
        .filter(Column::LicenseId.eq(license_id))
        .filter(Column::RefundedAt.is_not_null())
        .order_by_asc(Column::Amendment)
        .into_tuple()
        .all(db)
        .await?;
    let number = |number: Option<i32>| u32::try_from(number?).ok();
    Ok(numbers.into_iter().filter_map(number).collect())
}

/// Locks an add-on until the transaction ends, and returns its current state: other changes to it
/// wait. If its license is to be changed, too, that has to be locked first.
///
/// # Errors
/// If the database returns an error, or the row cannot be read.
pub async fn hold(db: &impl ConnectionTrait, id: i64) -> Result<Option<StoredAddOn>, StoreError> {
    // On SQLite, the transaction already has exclusive access to the file.
    let found = Entity::find_by_id(id).lock(LockType::NoKeyUpdate);
    let row = found.one(db).await?;
    row.map(StoredAddOn::try_from).transpose()
}

/// Records that an add-on, which is locked, was redeemed.
///
/// # Errors
/// If the database returns an error.
pub async fn set_redeemed(
    db: &impl ConnectionTrait,
    id: i64,
    redemption: &Redemption,
    by: String,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let number = i32::try_from(redemption.amendment).unwrap_or(i32::MAX);
    let values = vec![
        (Column::LicenseId, redemption.license.clone().into()),
        (Column::Amendment, number.into()),
        (Column::RedeemedAt, now.naive_utc().into()),
        (Column::RedeemedBy, by.into()),
    ];
    Ok(writes::update_one::<Entity>(db, Column::Id.eq(id), values).await?)
}

/// Records that an add-on, which is locked, was refunded.
///
/// # Errors
/// If the database returns an error.
pub async fn set_refunded(
    db: &impl ConnectionTrait,
    id: i64,
    by: String,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let values = vec![
        (Column::RefundedAt, now.naive_utc().into()),
        (Column::RefundedBy, by.into()),
    ];
    Ok(writes::update_one::<Entity>(db, Column::Id.eq(id), values).await?)
}

/// The number of add-on keys.
///
/// # Errors
/// If the database returns an error.
pub async fn count(db: &impl ConnectionTrait, query: &AddOnsQuery) -> Result<u64, StoreError> {
    let found = Entity::find().filter(query.condition());
    Ok(found.count(db).await?)
}

/// A page of the add-on keys, newest first.
///
/// # Errors
/// If the database returns an error, or a row cannot be read.
pub async fn newest(
    db: &impl ConnectionTrait,
    query: &AddOnsQuery,
    after: Option<&AddOnsCursor>,
    most: u64,
) -> Result<Page<StoredAddOn>, StoreError> {
    let mut found = Entity::find().filter(query.condition());
    if let Some(cursor) = after {
        found = found.filter(Column::Id.lt(cursor.below));
    }
    let found = page(db, found.order_by_desc(Column::Id), most).await?;
    found.try_map(StoredAddOn::try_from)
}

impl AddOnsQuery {
    fn condition(&self) -> Condition {
        let license = self.license.as_ref();
        let state = self.state.map(|state| match state {
            AddOnState::Issued => Column::LicenseId
                .is_null()
                .and(Column::RefundedAt.is_null()),
            AddOnState::Redeemed => Column::LicenseId
                .is_not_null()
                .and(Column::RefundedAt.is_null()),
            AddOnState::Refunded => Column::RefundedAt.is_not_null(),
        });
        let expired = self.expired_at;
        let expired = expired.map(|at| Column::RedeemBy.lt(at.naive_utc()));
        Condition::all()
            .add_option(license.map(|id| Column::LicenseId.eq(id)))
            .add_option(state)
            .add_option(expired)
    }
}

impl TryFrom<Model> for StoredAddOn {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let grants = row.grants.to_string();
        let read = serde_json::from_value::<Vec<AddOnGrant>>(row.grants);
        let redeemed = row.license_id.zip(row.amendment);
        Ok(Self {
            id: row.id,
            masked: row.key_masked,
            plan: row.plan,
            add_on: AddOn {
                grants: read.map_err(|_| StoreError::Value {
                    column: "add_ons.grants",
                    value: grants,
                })?,
                redeem_by: row.redeem_by.map(|at| at.and_utc()),
                redeemed: redeemed.map(|(license, amendment)| Redemption {
                    license,
                    amendment: u32::try_from(amendment).unwrap_or_default(),
                }),
                is_refunded: row.refunded_at.is_some(),
            },
            order: row.order_reference,
            note: row.note,
            created_at: row.created_at.and_utc(),
            created_by: row.created_by,
            redeemed_at: row.redeemed_at.map(|at| at.and_utc()),
            redeemed_by: row.redeemed_by,
            refunded_at: row.refunded_at.map(|at| at.and_utc()),
            refunded_by: row.refunded_by,
        })
    }
}
