//! `licenses`: the issued licenses.

mod contents;
mod of_customer;
mod search;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};
use license_core::amendment::UpdateRule;
use license_core::calendar_duration::CalendarDuration;
use license_core::entitlement::{Period, Quantity};
use license_core::folded_text::folded;
use license_core::license_state::Decided;
use license_core::seat::TransferBudget;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{ActiveValue, Condition, ConnectionTrait, EntityTrait, QuerySelect as _};
use serde::Serialize;
use utoipa::ToSchema;

use super::StoreError;
use super::page::Page;
use super::page_bytes::page;
pub(in crate::store) use contents::counts_of;
pub use contents::counts_schema;
pub use of_customer::{
    Judged, amended, count_of_customers, hold_of_customer, in_state, judged, judged_as,
    move_customer, of_customer, previewed, rename_customer, with_customer, with_plan,
};
pub(in crate::store) use search::containing;
pub use search::{
    LicensesCursor, MAX_LISTED, NamedLicense, Search, Sort, any, count, keys, list, named,
};

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "licenses")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    id: String,
    #[sea_orm(unique)]
    license_key: String,
    customer: String,
    customer_folded: String,
    tier: String,
    features: Json,
    max_cameras: i64,
    max_users: i64,
    max_storage_gb: i64,
    seats: i32,
    status: String,
    status_message: Option<String>,
    expires_at: Option<NaiveDateTime>,
    created_at: NaiveDateTime,
    updated_at: NaiveDateTime,
    moves: i32,
    moves_period_days: i32,
    plan: String,
    amendment: i32,
    is_plain: bool,
    changes_at: Option<NaiveDateTime>,
    lease_hours: Option<i32>,
    grace_hours: Option<i32>,
    offline_days: Option<i32>,
    updates_until: Option<NaiveDateTime>,
    updates: String,
    customer_id: Option<String>,
    judged_at: Option<NaiveDateTime>,
    starts_at: Option<NaiveDateTime>,
    trial: bool,
    counts: Option<Json>,
    lasts_from_activation: Option<String>,
    requires_proof: bool,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&[Column::Id], &[Column::LicenseKey]])
}

/// A license in the vendor's database.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct License {
    /// UUID.
    pub id: String,
    /// The license key, in canonical spelling.
    pub license_key: String,
    /// The name of the customer, as documents carry it; may be empty.
    pub customer: String,
    /// The id of the customer; `null` without one.
    pub customer_id: Option<String>,
    /// Name of the tier.
    pub tier: String,
    /// The plan with its version, such as `professional@1`.
    pub plan: String,
    /// Whether the plan is for trying the product out.
    pub trial: bool,
    /// The number of the newest amendment.
    pub amendment: u32,
    /// Whether the columns say all that documents do: nothing starts or ends on its own or is amended
    /// later, nothing but cameras, users and storage is counted, and all releases are covered.
    #[serde(skip)]
    pub is_plain: bool,
    /// The instant for which these values were computed; `None` if they are the same at all times.
    #[serde(skip)]
    pub judged_at: Option<DateTime<Utc>>,
    /// When amendments next change these values; `null` if no such change is scheduled.
    pub changes_at: Option<DateTime<Utc>>,
    /// Keys of the features in force.
    pub features: Vec<String>,
    /// -1 is unlimited.
    pub max_cameras: i64,
    /// -1 is unlimited.
    pub max_users: i64,
    /// In GB; -1 is unlimited.
    pub max_storage_gb: i64,
    /// How much of everything else that is counted is in force, by its key: a number or
    /// `unlimited`.
    #[schema(schema_with = counts_schema)]
    pub counts: BTreeMap<String, Quantity>,
    /// Maximum number of machines at the same time.
    pub seats: u32,
    /// How many times in a period a seat may move to another machine while the old machine's lease
    /// is still valid.
    pub moves: u32,
    /// Length of the period for moves, in days.
    pub moves_period_days: u32,
    /// How long a lease is valid; `null` is the License Server's setting.
    pub lease_hours: Option<u32>,
    /// Length of the grace period after the lease; `null` is the License Server's setting.
    pub grace_hours: Option<u32>,
    /// Length of a lease for a site without internet; `null` is the License Server's setting.
    pub offline_days: Option<u32>,
    /// Releases of the product until this instant are covered; `null` covers all.
    pub updates_until: Option<DateTime<Utc>>,
    /// What happens with later releases: `warn` or `enforce`.
    #[schema(value_type = String)]
    pub updates: UpdateRule,
    /// The vendor's decision. Programs are shown the resulting status.
    #[serde(skip)]
    pub status: Status,
    /// The vendor's message.
    pub status_message: Option<String>,
    /// The first instant at which anything is in force; `null` if there is no such bound.
    pub starts_at: Option<DateTime<Utc>>,
    /// The last instant at which the license may be used.
    pub expires_at: Option<DateTime<Utc>>,
    /// How long it may be used from its first activation on, which will set its end: an ISO 8601
    /// duration. `null` if it has already been activated, or if its end does not depend on that.
    #[schema(value_type = Option<String>)]
    pub lasts_from_activation: Option<CalendarDuration>,
    /// Whether calls about it are only answered if they prove an installation key.
    pub requires_proof: bool,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// The vendor's decision about a license.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The license may be used.
    Active,
    /// Suspended.
    Suspended,
    /// Revoked permanently.
    Revoked,
}

impl License {
    /// From the first instant at which anything is in force to the last one at which the license may
    /// be used.
    #[must_use]
    pub fn period(&self) -> Period {
        Period {
            from: self.starts_at,
            until: self.expires_at,
        }
    }

    /// The transfer budget of its seats.
    #[must_use]
    pub fn transfer_budget(&self) -> TransferBudget {
        TransferBudget {
            moves: self.moves,
            period_days: self.moves_period_days,
        }
    }
}

impl Status {
    /// The value for a decision.
    #[must_use]
    pub fn of(decided: Decided) -> Self {
        match decided {
            Decided::Valid => Self::Active,
            Decided::Suspended => Self::Suspended,
            Decided::Revoked => Self::Revoked,
        }
    }

    /// The decision.
    #[must_use]
    pub fn decided(self) -> Decided {
        match self {
            Self::Active => Decided::Valid,
            Self::Suspended => Decided::Suspended,
            Self::Revoked => Decided::Revoked,
        }
    }

    /// The value in the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Status {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        [Self::Active, Self::Suspended, Self::Revoked]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| StoreError::Value {
                column: "licenses.status",
                value: text.to_owned(),
            })
    }
}

/// Adds a license.
///
/// # Errors
/// If the database returns an error, for example because the key already exists.
pub async fn insert(db: &impl ConnectionTrait, license: &License) -> Result<(), StoreError> {
    Ok(writes::insert(db, Entity::insert(row(license))).await?)
}

/// Stores a license that is locked, as it was judged at a time at which the clock is trusted.
///
/// # Errors
/// If the database returns an error.
pub async fn save(db: &impl ConnectionTrait, license: &Judged) -> Result<(), StoreError> {
    Ok(writes::save(db, &row(license.license())).await?)
}

/// Some of the licenses whose amendments added up to something else at an instant before `now`
/// than what is stored, and of those that were judged at a later instant.
///
/// # Errors
/// If the database returns an error.
pub async fn outdated(
    db: &impl ConnectionTrait,
    now: DateTime<Utc>,
    most: u64,
) -> Result<Page<License>, StoreError> {
    let is_outdated = Condition::any()
        .add(Column::ChangesAt.lt(now.naive_utc()))
        .add(Column::JudgedAt.gt(now.naive_utc()));
    let found = Entity::find().filter(is_outdated);
    page(db, found, most).await?.try_map(License::try_from)
}

fn row(license: &License) -> ActiveModel {
    let column = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    ActiveModel {
        id: ActiveValue::Set(license.id.clone()),
        license_key: ActiveValue::Set(license.license_key.clone()),
        customer: ActiveValue::Set(license.customer.clone()),
        customer_folded: ActiveValue::Set(folded(&license.customer)),
        tier: ActiveValue::Set(license.tier.clone()),
        features: ActiveValue::Set(license.features.clone().into()),
        max_cameras: ActiveValue::Set(license.max_cameras),
        max_users: ActiveValue::Set(license.max_users),
        max_storage_gb: ActiveValue::Set(license.max_storage_gb),
        seats: ActiveValue::Set(column(license.seats)),
        status: ActiveValue::Set(license.status.as_str().to_owned()),
        status_message: ActiveValue::Set(license.status_message.clone()),
        expires_at: ActiveValue::Set(license.expires_at.map(|time| time.naive_utc())),
        created_at: ActiveValue::Set(license.created_at.naive_utc()),
        updated_at: ActiveValue::Set(license.updated_at.naive_utc()),
        moves: ActiveValue::Set(column(license.moves)),
        moves_period_days: ActiveValue::Set(column(license.moves_period_days)),
        plan: ActiveValue::Set(license.plan.clone()),
        amendment: ActiveValue::Set(column(license.amendment)),
        is_plain: ActiveValue::Set(license.is_plain),
        changes_at: ActiveValue::Set(license.changes_at.map(|time| time.naive_utc())),
        lease_hours: ActiveValue::Set(license.lease_hours.map(column)),
        grace_hours: ActiveValue::Set(license.grace_hours.map(column)),
        offline_days: ActiveValue::Set(license.offline_days.map(column)),
        updates_until: ActiveValue::Set(license.updates_until.map(|time| time.naive_utc())),
        updates: ActiveValue::Set(license.updates.as_str().to_owned()),
        customer_id: ActiveValue::Set(license.customer_id.clone()),
        judged_at: ActiveValue::Set(license.judged_at.map(|time| time.naive_utc())),
        starts_at: ActiveValue::Set(license.starts_at.map(|time| time.naive_utc())),
        trial: ActiveValue::Set(license.trial),
        counts: ActiveValue::Set(contents::counts_column(&license.counts)),
        lasts_from_activation: ActiveValue::Set(
            license.lasts_from_activation.map(|it| it.to_string()),
        ),
        requires_proof: ActiveValue::Set(license.requires_proof),
    }
}

/// The license with this key, in canonical spelling.
///
/// # Errors
/// If the database returns an error.
pub async fn find(
    db: &impl ConnectionTrait,
    license_key: &str,
) -> Result<Option<License>, StoreError> {
    let row = Entity::find()
        .filter(Column::LicenseKey.eq(license_key))
        .one(db)
        .await?;
    row.map(License::try_from).transpose()
}

/// The license with this id.
///
/// # Errors
/// If the database returns an error.
pub async fn find_by_id(
    db: &impl ConnectionTrait,
    id: &str,
) -> Result<Option<License>, StoreError> {
    let row = Entity::find_by_id(id).one(db).await?;
    row.map(License::try_from).transpose()
}

/// Locks a license until the transaction ends, and returns its current state: other changes to it
/// wait. With [`super::Store::hold`], they wait without a connection.
///
/// # Errors
/// If the database returns an error.
pub async fn hold(db: &impl ConnectionTrait, known: License) -> Result<License, StoreError> {
    // On SQLite, the transaction already has exclusive access to the file.
    let row = Entity::find()
        .filter(Column::LicenseKey.eq(&known.license_key))
        .lock(LockType::NoKeyUpdate)
        .one(db)
        .await?;
    row.map_or(Ok(known), License::try_from)
}

/// Sets whether a license may be used.
///
/// # Errors
/// If the database returns an error.
pub async fn set_status(
    db: &impl ConnectionTrait,
    license_key: &str,
    status: Status,
    message: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let values = vec![
        (Column::Status, status.as_str().into()),
        (Column::StatusMessage, message.map(str::to_owned).into()),
        (Column::UpdatedAt, now.naive_utc().into()),
    ];
    Ok(writes::update_one::<Entity>(db, Column::LicenseKey.eq(license_key), values).await?)
}

/// Sets whether calls about a license must prove an installation key.
///
/// # Errors
/// If the database returns an error.
pub async fn set_requires_proof(
    db: &impl ConnectionTrait,
    license_key: &str,
    requires_proof: bool,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let values = vec![
        (Column::RequiresProof, requires_proof.into()),
        (Column::UpdatedAt, now.naive_utc().into()),
    ];
    Ok(writes::update_one::<Entity>(db, Column::LicenseKey.eq(license_key), values).await?)
}

impl TryFrom<Model> for License {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let features = row.features.as_array().into_iter().flatten();
        let number = |column: i32| u32::try_from(column).unwrap_or_default();
        let updates = UpdateRule::of(&row.updates).ok_or(StoreError::Value {
            column: "licenses.updates",
            value: row.updates,
        })?;
        Ok(Self {
            features: features
                .filter_map(|key| key.as_str().map(str::to_owned))
                .collect(),
            id: row.id,
            license_key: row.license_key,
            customer: row.customer,
            customer_id: row.customer_id,
            tier: row.tier,
            plan: row.plan,
            trial: row.trial,
            amendment: number(row.amendment),
            is_plain: row.is_plain,
            changes_at: row.changes_at.map(|time| time.and_utc()),
            judged_at: row.judged_at.map(|time| time.and_utc()),
            max_cameras: row.max_cameras,
            max_users: row.max_users,
            max_storage_gb: row.max_storage_gb,
            counts: counts_of(row.counts)?,
            seats: number(row.seats),
            moves: number(row.moves),
            moves_period_days: number(row.moves_period_days),
            lease_hours: row.lease_hours.map(number),
            grace_hours: row.grace_hours.map(number),
            offline_days: row.offline_days.map(number),
            updates_until: row.updates_until.map(|time| time.and_utc()),
            updates,
            status: row.status.parse()?,
            status_message: row.status_message,
            starts_at: row.starts_at.map(|time| time.and_utc()),
            expires_at: row.expires_at.map(|time| time.and_utc()),
            lasts_from_activation: contents::duration_of(row.lasts_from_activation)?,
            requires_proof: row.requires_proof,
            created_at: row.created_at.and_utc(),
            updated_at: row.updated_at.and_utc(),
        })
    }
}
