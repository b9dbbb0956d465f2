//! `suspicions`: cases for staff to review.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDateTime, Utc};
use license_core::suspicion::Suspicion;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict};
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _};
use serde::Serialize;
use utoipa::ToSchema;

use super::StoreError;
use super::page::Page;
use super::page_bytes::page;
use super::parts::in_parts;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "suspicions")]
pub struct Model {
    #[sea_orm(primary_key)]
    id: i64,
    license_id: String,
    hardware_id: String,
    kind: String,
    first_seen_at: NaiveDateTime,
    last_seen_at: NaiveDateTime,
    times: i64,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// One row for each of these.
const KEY: [Column; 3] = [Column::LicenseId, Column::HardwareId, Column::Kind];

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&KEY])
}

/// A suspicion about one machine and one license.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Suspicion)]
pub struct Suspected {
    #[serde(skip)]
    id: i64,
    /// The license.
    #[serde(skip)]
    pub license_id: String,
    /// The machine; empty if the suspicion is only about the license.
    pub hardware_id: String,
    /// `shared_identity`, `impossible_sequence`, `hardware_drift` or `unproven_call`.
    pub kind: String,
    /// When it was first seen.
    pub first_seen_at: DateTime<Utc>,
    /// When it was last seen.
    pub last_seen_at: DateTime<Utc>,
    /// How many times it was seen.
    pub times: u64,
}

/// A place in the list of suspicions, which begins with the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuspicionsPlace {
    last_seen_at: DateTime<Utc>,
    id: i64,
}

impl Suspected {
    /// Its place in lists.
    #[must_use]
    pub fn place(&self) -> SuspicionsPlace {
        SuspicionsPlace {
            last_seen_at: self.last_seen_at,
            id: self.id,
        }
    }
}

/// Maximum number of suspicions of each kind about one license. The most recently seen are kept.
pub const MAX_OF_KIND: u64 = 100;
/// Maximum number of suspicions about one license: two kinds with one for each machine, and two
/// kinds with one for the license.
pub const MAX_PER_LICENSE: u64 = 2 * MAX_OF_KIND + 2;
/// Maximum number of suspicions in one response.
pub const MAX_LISTED: u64 = 10_000;

/// Records a suspicion, or another occurrence of a known one. A suspicion that does not concern the
/// machine is recorded without it. Returns whether it is new today; the license must be locked.
///
/// # Errors
/// If the database returns an error.
pub async fn note(
    db: &impl ConnectionTrait,
    license_id: &str,
    hardware_id: &str,
    suspicion: Suspicion,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let hardware_id = match suspicion.accuses_machine() {
        true => hardware_id,
        false => "",
    };
    let known = Entity::find()
        .filter(Column::LicenseId.eq(license_id))
        .filter(Column::HardwareId.eq(hardware_id))
        .filter(Column::Kind.eq(suspicion.as_str()))
        .one(db)
        .await?;
    let row = ActiveModel {
        id: ActiveValue::NotSet,
        license_id: ActiveValue::Set(license_id.to_owned()),
        hardware_id: ActiveValue::Set(hardware_id.to_owned()),
        kind: ActiveValue::Set(suspicion.as_str().to_owned()),
        first_seen_at: ActiveValue::Set(now.naive_utc()),
        last_seen_at: ActiveValue::Set(now.naive_utc()),
        times: ActiveValue::Set(1),
    };
    let mut again = OnConflict::columns(KEY);
    again
        .value(Column::Times, Expr::col((Entity, Column::Times)).add(1))
        .value(Column::LastSeenAt, now.naive_utc());
    writes::insert(db, Entity::insert(row).on_conflict(again)).await?;
    let too_old: Vec<i64> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::LicenseId.eq(license_id))
        // Suspicions that anyone can cause do not displace evidence of a copy.
        .filter(Column::Kind.eq(suspicion.as_str()))
        .order_by_desc(Column::LastSeenAt)
        .order_by_desc(Column::Id)
        .offset(MAX_OF_KIND)
        .limit(MAX_OF_KIND)
        .into_tuple()
        .all(db)
        .await?;
    let removed = in_parts(too_old, async |part| {
        let removed = Entity::delete_many().filter(part.has(Column::Id)).exec(db);
        Ok(vec![removed.await?.rows_affected])
    });
    removed.await?;
    Ok(known.is_none_or(|it| it.last_seen_at.date() != now.date_naive()))
}

/// Maximum number of suspicions that are read to find the machines.
const MAX_SUSPECTED: u64 = 1_000_000;

/// The machines that were suspected since an instant: hardware ids by license id. If there are more
/// than 1,000,000 suspicions, the newest count.
///
/// # Errors
/// If the database returns an error.
pub async fn suspected_since(
    db: &impl ConnectionTrait,
    from: DateTime<Utc>,
) -> Result<HashMap<String, HashSet<String>>, StoreError> {
    let machines: Vec<(String, String)> = Entity::find()
        .select_only()
        .columns([Column::LicenseId, Column::HardwareId])
        .filter(Column::LastSeenAt.gte(from.naive_utc()))
        .filter(Column::HardwareId.ne(""))
        .order_by_desc(Column::LastSeenAt)
        .limit(MAX_SUSPECTED)
        .into_tuple()
        .all(db)
        .await?;
    let mut by_license: HashMap<String, HashSet<String>> = HashMap::new();
    for (license_id, hardware_id) in machines {
        by_license
            .entry(license_id)
            .or_default()
            .insert(hardware_id);
    }
    Ok(by_license)
}

/// A page of the newest suspicions, of one license or of all.
///
/// # Errors
/// If the database returns an error.
pub async fn list(
    db: &impl ConnectionTrait,
    license_id: Option<&str>,
    most: u64,
) -> Result<Page<Suspected>, StoreError> {
    list_after(db, license_id, None, most).await
}

/// The same after a place in this list.
///
/// # Errors
/// If the database returns an error.
pub async fn list_after(
    db: &impl ConnectionTrait,
    license_id: Option<&str>,
    after: Option<SuspicionsPlace>,
    most: u64,
) -> Result<Page<Suspected>, StoreError> {
    let mut found = Entity::find();
    if let Some(SuspicionsPlace { last_seen_at, id }) = after {
        let at = last_seen_at.naive_utc();
        let earlier = Column::LastSeenAt.lt(at).or(Column::Id.lt(id));
        found = found.filter(Column::LastSeenAt.lte(at)).filter(earlier);
    }
    if let Some(license_id) = license_id {
        found = found.filter(Column::LicenseId.eq(license_id));
    }
    let found = found
        .order_by_desc(Column::LastSeenAt)
        .order_by_desc(Column::Id);
    let found = page(db, found, std::cmp::min(most, MAX_LISTED)).await?;
    Ok(found.map(Suspected::from))
}

/// Removes suspicions that were last seen before an instant.
///
/// # Errors
/// If the database returns an error.
pub async fn forget(db: &impl ConnectionTrait, before: DateTime<Utc>) -> Result<(), StoreError> {
    Entity::delete_many()
        .filter(Column::LastSeenAt.lt(before.naive_utc()))
        .exec(db)
        .await?;
    Ok(())
}

impl From<Model> for Suspected {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            license_id: row.license_id,
            hardware_id: row.hardware_id,
            kind: row.kind,
            first_seen_at: row.first_seen_at.and_utc(),
            last_seen_at: row.last_seen_at.and_utc(),
            times: u64::try_from(row.times).unwrap_or_default(),
        }
    }
}
