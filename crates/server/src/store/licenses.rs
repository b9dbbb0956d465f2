//! `licenses`: what was sold.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};
use license_core::folded_text::folded;
use license_core::license_key::LicenseKey;
use license_core::seat::TransferBudget;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, LikeExpr, NullOrdering, Query};
use sea_orm::{
    ActiveValue, Condition, ConnectionTrait, EntityTrait, Order, QueryOrder as _, QuerySelect as _,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{StoreError, seats};

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
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A license as the vendor keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct License {
    /// UUID.
    pub id: String,
    /// In canonical spelling.
    pub license_key: String,
    /// Whose it is; may be empty.
    pub customer: String,
    /// Name of the tier.
    pub tier: String,
    /// Feature keys.
    pub features: Vec<String>,
    /// -1 is unlimited.
    pub max_cameras: i64,
    /// -1 is unlimited.
    pub max_users: i64,
    /// In GB; -1 is unlimited.
    pub max_storage_gb: i64,
    /// How many machines may hold it at a time.
    pub seats: u32,
    /// How often in a period a seat may move to another machine while the old
    /// machine's lease runs …
    pub moves: u32,
    /// … and how many days that period has.
    pub moves_period_days: u32,
    /// What the vendor decided. Programs are shown what has become of it.
    #[serde(skip)]
    pub status: Status,
    /// The vendor's reason.
    pub status_message: Option<String>,
    /// The last instant at which it may be used.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}

/// Whether a license may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It may.
    Active,
    /// Not for the time being.
    Suspended,
    /// Never again.
    Revoked,
}

impl License {
    /// How often its seats may move.
    #[must_use]
    pub fn transfer_budget(&self) -> TransferBudget {
        TransferBudget {
            moves: self.moves,
            period_days: self.moves_period_days,
        }
    }
}

impl Status {
    /// The text in the column.
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
/// When the database refuses, as it does for a key that is already there.
pub async fn insert(db: &impl ConnectionTrait, license: &License) -> Result<(), StoreError> {
    let row = ActiveModel {
        id: ActiveValue::Set(license.id.clone()),
        license_key: ActiveValue::Set(license.license_key.clone()),
        customer: ActiveValue::Set(license.customer.clone()),
        customer_folded: ActiveValue::Set(folded(&license.customer)),
        tier: ActiveValue::Set(license.tier.clone()),
        features: ActiveValue::Set(license.features.clone().into()),
        max_cameras: ActiveValue::Set(license.max_cameras),
        max_users: ActiveValue::Set(license.max_users),
        max_storage_gb: ActiveValue::Set(license.max_storage_gb),
        seats: ActiveValue::Set(i32::try_from(license.seats).unwrap_or(i32::MAX)),
        status: ActiveValue::Set(license.status.as_str().to_owned()),
        status_message: ActiveValue::Set(license.status_message.clone()),
        expires_at: ActiveValue::Set(license.expires_at.map(|time| time.naive_utc())),
        created_at: ActiveValue::Set(license.created_at.naive_utc()),
        updated_at: ActiveValue::Set(license.updated_at.naive_utc()),
        moves: ActiveValue::Set(i32::try_from(license.moves).unwrap_or(i32::MAX)),
        moves_period_days: ActiveValue::Set(
            i32::try_from(license.moves_period_days).unwrap_or(i32::MAX),
        ),
    };
    Entity::insert(row).exec_without_returning(db).await?;
    Ok(())
}

/// The license with this key, in canonical spelling.
///
/// # Errors
/// When the database refuses.
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
/// When the database refuses.
pub async fn find_by_id(
    db: &impl ConnectionTrait,
    id: &str,
) -> Result<Option<License>, StoreError> {
    let row = Entity::find_by_id(id).one(db).await?;
    row.map(License::try_from).transpose()
}

/// Locks a license until the transaction ends, and answers its current state: other changes to it
/// wait. [`super::Store::hold`] lets them wait without a connection.
///
/// # Errors
/// When the database refuses.
pub(super) async fn hold(db: &impl ConnectionTrait, known: License) -> Result<License, StoreError> {
    // Changing a row to what it is takes its lock on PostgreSQL; SQLite's
    // transaction has the whole file already.
    Entity::update_many()
        .col_expr(Column::Id, Expr::col(Column::Id))
        .filter(Column::LicenseKey.eq(&known.license_key))
        .exec(db)
        .await?;
    Ok(find(db, &known.license_key).await?.unwrap_or(known))
}

/// Which licenses.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Of whom: part of the customer's name, of the license key, or of an
    /// installation's name; or a whole hardware id. Empty for all.
    pub text: String,
    /// Only those with this decision of the vendor.
    pub status: Option<Status>,
    /// Only those whose end has passed at an instant, or only those whose end has not.
    pub ended: Option<(bool, DateTime<Utc>)>,
    /// Only those of this tier.
    pub tier: Option<String>,
    /// Only those that end at this instant at the latest …
    pub ends_by: Option<DateTime<Utc>>,
    /// … and after this one.
    pub ends_after: Option<DateTime<Utc>>,
    /// What comes first.
    pub sort: Sort,
    /// The other way round.
    pub reversed: bool,
}

impl Search {
    /// The same for licenses with this decision whose end has passed or not; `None` asks
    /// for both.
    #[must_use]
    pub fn called(self, status: Status, has_ended: Option<bool>, now: DateTime<Utc>) -> Self {
        Self {
            status: Some(status),
            ended: has_ended.map(|has_ended| (has_ended, now)),
            ..self
        }
    }
}

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// The newest.
    #[default]
    Created,
    /// What was changed last.
    Updated,
    /// Customers by their names.
    Customer,
    /// What ends first. What never ends comes last.
    Expires,
}

/// Licenses, from `offset` on, at most `most`.
///
/// # Errors
/// When the database refuses.
pub async fn list(
    db: &impl ConnectionTrait,
    search: &Search,
    offset: u64,
    most: u64,
) -> Result<Vec<License>, StoreError> {
    let column = match search.sort {
        Sort::Created => Column::CreatedAt,
        Sort::Updated => Column::UpdatedAt,
        Sort::Customer => Column::Customer,
        Sort::Expires => Column::ExpiresAt,
    };
    let is_ascending = matches!(search.sort, Sort::Customer | Sort::Expires);
    let order = match is_ascending != search.reversed {
        true => Order::Asc,
        false => Order::Desc,
    };
    let query = found(search);
    let query = match search.sort {
        Sort::Expires => query.order_by_with_nulls(column, order.clone(), NullOrdering::Last),
        _ => query.order_by(column, order.clone()),
    };
    let rows = query
        .order_by(Column::Id, order)
        .offset(std::cmp::min(offset, super::MAX_ROWS))
        .limit(std::cmp::min(most, MAX_LISTED))
        .all(db)
        .await?;
    rows.into_iter().map(License::try_from).collect()
}

/// No text in the table is longer, in characters.
const MAX_TEXT_CHARS: usize = 255;
/// Maximum number of licenses in one answer.
pub const MAX_LISTED: u64 = 10_000;

/// How many there are.
///
/// # Errors
/// When the database refuses.
pub async fn count(db: &impl ConnectionTrait, search: &Search) -> Result<u64, StoreError> {
    Ok(found(search).count(db).await?)
}

fn found(search: &Search) -> Select<Entity> {
    let mut query = Entity::find();
    if let Some(status) = search.status {
        query = query.filter(Column::Status.eq(status.as_str()));
    }
    match search.ended {
        Some((true, now)) => query = query.filter(Column::ExpiresAt.lt(now.naive_utc())),
        Some((false, now)) => {
            let later = Column::ExpiresAt.gte(now.naive_utc());
            query = query.filter(later.or(Column::ExpiresAt.is_null()));
        }
        None => {}
    }
    if let Some(tier) = &search.tier {
        query = query.filter(Column::Tier.eq(tier.replace('\0', "")));
    }
    if let Some(end) = search.ends_by {
        query = query.filter(Column::ExpiresAt.lte(end.naive_utc()));
    }
    if let Some(end) = search.ends_after {
        query = query.filter(Column::ExpiresAt.gt(end.naive_utc()));
    }
    // PostgreSQL takes no NUL, and no text here holds one.
    let text: String = search.text.trim().chars().take(MAX_TEXT_CHARS).collect();
    let text = text.replace('\0', "");
    // A whole key is searched for however it was pasted.
    let text = LicenseKey::parse(&text).map_or(text, |key| key.to_string());
    if text.is_empty() {
        return query;
    }
    // What a database makes of capitals depends on the engine and the locale.
    let matches = |column: Expr, text: &str| {
        ExprTrait::like(column, LikeExpr::new(containing(text)).escape('\\'))
    };
    let name = folded(&text);
    let at = Query::select()
        .column(seats::Column::LicenseId)
        .from(seats::Entity)
        .cond_where(
            Condition::any()
                .add(seats::Column::HardwareId.eq(text.as_str()))
                .add(matches(
                    Expr::col(seats::Column::InstallationNameFolded),
                    &name,
                )),
        )
        .to_owned();
    query.filter(
        Condition::any()
            .add(matches(Expr::col((Entity, Column::CustomerFolded)), &name))
            .add(matches(
                Expr::col((Entity, Column::LicenseKey)),
                &text.to_ascii_uppercase(),
            ))
            .add(Column::Id.in_subquery(at)),
    )
}

/// A pattern for texts that contain this one, with special characters escaped.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// Sets the last instant at which a license may be used.
///
/// # Errors
/// When the database refuses.
pub async fn set_expiry(
    db: &impl ConnectionTrait,
    license_key: &str,
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let expires_at = expires_at.map(|end| end.naive_utc());
    Entity::update_many()
        .col_expr(Column::ExpiresAt, Expr::value(expires_at))
        .col_expr(Column::UpdatedAt, now.naive_utc().into())
        .filter(Column::LicenseKey.eq(license_key))
        .exec(db)
        .await?;
    Ok(())
}

/// Sets whether a license may be used.
///
/// # Errors
/// When the database refuses.
pub async fn set_status(
    db: &impl ConnectionTrait,
    license_key: &str,
    status: Status,
    message: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    Entity::update_many()
        .col_expr(Column::Status, status.as_str().into())
        .col_expr(Column::StatusMessage, message.map(str::to_owned).into())
        .col_expr(Column::UpdatedAt, now.naive_utc().into())
        .filter(Column::LicenseKey.eq(license_key))
        .exec(db)
        .await?;
    Ok(())
}

impl TryFrom<Model> for License {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let features = row.features.as_array().into_iter().flatten();
        Ok(Self {
            features: features
                .filter_map(|key| key.as_str().map(str::to_owned))
                .collect(),
            id: row.id,
            license_key: row.license_key,
            customer: row.customer,
            tier: row.tier,
            max_cameras: row.max_cameras,
            max_users: row.max_users,
            max_storage_gb: row.max_storage_gb,
            seats: u32::try_from(row.seats).unwrap_or_default(),
            moves: u32::try_from(row.moves).unwrap_or_default(),
            moves_period_days: u32::try_from(row.moves_period_days).unwrap_or_default(),
            status: row.status.parse()?,
            status_message: row.status_message,
            expires_at: row.expires_at.map(|time| time.and_utc()),
            created_at: row.created_at.and_utc(),
            updated_at: row.updated_at.and_utc(),
        })
    }
}
