//! `seats`: which machine holds which license.
//!
//! A seat that was freed keeps its row until some days after its last lease has ended: it still
//! counts while that lease runs, and its sequence number keeps growing.

mod lists;
mod occupancy;
mod row;

use chrono::{DateTime, NaiveDateTime, Utc};
use license_core::binding::{BoundKey, FormerKey};
use license_core::fleet::Signed;
use license_core::seat::{Overlap, SeatState};
use license_core::suspicion::{Report, Suspicion, Trail};
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, ConnectionTrait, EntityTrait, QuerySelect as _};
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::StoreError;
use super::parts::in_parts;
pub use lists::{MAX_LISTED, SeatsCursor, SeatsQuery, beginning_with, count, list};
pub use occupancy::{
    count_held_by_others, count_held_of, count_licenses_over_seats, count_running_freed,
    count_waiting, first_excess, running_freed, silent, waiting,
};

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "seats")]
pub struct Model {
    #[sea_orm(primary_key)]
    id: i64,
    license_id: String,
    hardware_id: String,
    installation_id: String,
    installation_name: String,
    installation_name_folded: String,
    installation_version: String,
    activated_at: NaiveDateTime,
    last_activated_at: Option<NaiveDateTime>,
    last_seen_at: NaiveDateTime,
    freed_at: Option<NaiveDateTime>,
    last_seq: i64,
    usage: Option<Json>,
    system_info: Option<Json>,
    answered_seq: i64,
    behind_seq: Option<i64>,
    behind: i32,
    former_installations: Option<Json>,
    valid_until: Option<NaiveDateTime>,
    exp: Option<NaiveDateTime>,
    signed_until: Option<NaiveDateTime>,
    overlap: Option<String>,
    says_seq: bool,
    acknowledged_seq: i64,
    regressed_seq: Option<i64>,
    regressed_at: Option<Json>,
    behind_since: Option<NaiveDateTime>,
    lost_claim_seq: Option<i64>,
    request_files: Option<Json>,
    excused_amendment: Option<i32>,
    bound_key: Option<Json>,
    former_key: Option<Json>,
    document_hash: Option<String>,
    activated_seq: i64,
}

/// The license and machine of a seat.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The license.
    #[sea_orm(
        belongs_to = "super::licenses::Entity",
        from = "Column::LicenseId",
        to = "super::licenses::Column::Id"
    )]
    License,
}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&[Column::LicenseId, Column::HardwareId]])
}

/// A machine's seat of a license.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Seat {
    #[serde(skip)]
    row: Option<i64>,
    /// The license.
    #[serde(skip)]
    pub license_id: String,
    /// The machine.
    pub hardware_id: String,
    /// The installation on it.
    pub installation_id: String,
    /// The display name of the installation.
    pub installation_name: String,
    /// The VMS's version.
    pub installation_version: String,
    /// When the machine took the seat.
    pub activated_at: DateTime<Utc>,
    /// When an activation of the machine was last answered, whether or not it held the seat before.
    #[serde(skip)]
    pub last_activated_at: DateTime<Utc>,
    /// When the machine last called.
    pub last_seen_at: DateTime<Utc>,
    /// When the seat was freed; `null` while it is held.
    pub freed_at: Option<DateTime<Utc>>,
    /// Sequence number of the newest document for this seat.
    pub last_seq: u64,
    /// The usage of the newest heartbeat.
    #[schema(value_type = Option<Object>)]
    pub usage: Option<Value>,
    /// The system of the newest heartbeat.
    #[schema(value_type = Option<Object>)]
    pub system_info: Option<Value>,
    /// The newest lease that the site keeps.
    #[serde(skip)]
    pub signed: Option<Signed>,
    /// The greatest `exp` of any document ever signed for this seat: until then the machine may
    /// run, regardless of what happens to the seat.
    pub signed_until: Option<DateTime<Utc>>,
    /// `moved` or `released` if the place of a freed seat was passed on before its lease ended.
    #[serde(serialize_with = "overlap_word")]
    #[schema(value_type = Option<String>)]
    pub overlap: Option<Overlap>,
    /// The installation key that is bound to the seat: only calls that prove it are answered.
    #[serde(rename = "installationKey", serialize_with = "thumbprint_of")]
    #[schema(value_type = Option<String>)]
    pub bound_key: Option<BoundKey>,
    /// The key that an activation without it has removed from the seat last.
    #[serde(skip)]
    pub former_key: Option<FormerKey>,
    /// The hash of the newest signed license ([`license_core::proof::document_hash`]).
    #[serde(skip)]
    pub document_hash: Option<String>,
    /// The sequence number of the answer to the last activation, or any that is not greater.
    #[serde(skip)]
    pub activated_seq: u64,
    /// The number of the last amendment whose lower number of seats did not end the seat, because
    /// the database may have been older than the site.
    #[serde(skip)]
    pub excused_amendment: Option<u32>,
    /// The data that distinguishes a copy from the machine itself.
    #[serde(skip)]
    trail: Trail,
}

/// When a seat was taken; those that were taken at the same instant are in the order of their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TakenAt {
    at: DateTime<Utc>,
    row: i64,
}

impl Seat {
    /// A seat that is not in the database yet.
    #[must_use]
    pub fn new(license_id: &str, hardware_id: &str, now: DateTime<Utc>) -> Self {
        Self {
            row: None,
            license_id: license_id.to_owned(),
            hardware_id: hardware_id.to_owned(),
            installation_id: String::new(),
            installation_name: String::new(),
            installation_version: String::new(),
            activated_at: now,
            last_activated_at: now,
            last_seen_at: now,
            freed_at: None,
            last_seq: 0,
            usage: None,
            system_info: None,
            signed: None,
            signed_until: None,
            overlap: None,
            bound_key: None,
            former_key: None,
            document_hash: None,
            activated_seq: 0,
            excused_amendment: None,
            trail: Trail::default(),
        }
    }

    /// The data about seats that the rules need.
    #[must_use]
    pub fn state(&self) -> SeatState {
        SeatState {
            is_held: self.is_held(),
            signed_until: self.signed_until,
            overlap: self.overlap,
        }
    }

    /// When it was taken.
    #[must_use]
    pub fn taken_at(&self) -> TakenAt {
        TakenAt {
            at: self.activated_at,
            row: self.row.unwrap_or(i64::MAX),
        }
    }

    /// Whether it is one of those that count from [`first_excess`] on.
    #[must_use]
    pub fn is_excess(&self, first: Option<TakenAt>, now: DateTime<Utc>) -> bool {
        self.state().occupies(now) && first.is_some_and(|first| first <= self.taken_at())
    }

    /// Its position in lists; `None` if it is not in the database yet.
    #[must_use]
    pub fn cursor(&self) -> Option<SeatsCursor> {
        self.row.map(|seat| SeatsCursor { seat })
    }

    /// Records the newest lease and the hash of its document. The machine may still use an earlier one
    /// that ends later.
    pub fn note_signed(&mut self, signed: Signed, document_hash: Option<String>) {
        self.signed = Some(signed);
        self.document_hash = document_hash;
        self.signed_until = self.signed_until.max(Some(signed.exp));
    }

    /// The data that distinguishes a copy of the machine from the machine itself.
    #[must_use]
    pub fn trail(&self) -> Trail {
        Trail {
            issued: self.last_seq,
            installation_id: self.installation_id.clone(),
            ..self.trail.clone()
        }
    }

    /// Stores an advanced trail. The caller that answers records the installation.
    pub fn set_trail(&mut self, trail: Trail) {
        self.trail = trail;
    }

    /// Records that the site will know the newest sequence number.
    pub fn note_answer(&mut self, report: &Report<'_>) {
        self.trail.note_answer(report, self.last_seq);
    }

    /// Records the response to a request file: the newest number, whose lease ends at `exp`.
    /// Returns suspicions for staff to review.
    #[must_use]
    pub fn note_file(&mut self, report: &Report<'_>, exp: DateTime<Utc>) -> Option<Suspicion> {
        self.trail.note_file(report, self.last_seq, exp)
    }

    /// Records the lost number with which a machine takes its seat.
    pub fn note_lost_claim(&mut self, lost: Option<u64>) {
        self.trail.lost_claim = lost;
    }

    /// Whether the machine holds the seat now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.freed_at.is_none()
    }
}

/// The seat of this machine, held or freed.
///
/// # Errors
/// If the database returns an error.
pub async fn find(
    db: &impl ConnectionTrait,
    license_id: &str,
    hardware_id: &str,
) -> Result<Option<Seat>, StoreError> {
    let row = Entity::find()
        .filter(Column::LicenseId.eq(license_id))
        .filter(Column::HardwareId.eq(hardware_id))
        .one(db)
        .await?;
    row.map(Seat::try_from).transpose()
}

/// Whether there is any seat of any license, held or freed.
///
/// # Errors
/// If the database returns an error.
pub async fn any(db: &impl ConnectionTrait) -> Result<bool, StoreError> {
    Ok(Entity::find().one(db).await?.is_some())
}

/// Which rows are not the seat of the machine on which the trial of their license was started.
const IS_NOT_OF_TRIAL: &str = "(seats.license_id, seats.hardware_id) NOT IN \
    (SELECT t.license_id, t.hardware_id FROM trials AS t)";

/// Removes freed seats whose last lease ended before an instant, apart from those of machines on
/// which trials were started: they show that the trials were given up. Returns their number.
///
/// # Errors
/// If the database returns an error.
pub async fn prune(db: &impl ConnectionTrait, before: DateTime<Utc>) -> Result<u64, StoreError> {
    // A seat that is taken again in the meantime stays: the condition is checked again when the
    // row is removed.
    let is_over = || {
        Condition::all()
            .add(Column::FreedAt.lt(before.naive_utc()))
            .add(
                Condition::any()
                    .add(Column::SignedUntil.lt(before.naive_utc()))
                    .add(Column::SignedUntil.is_null()),
            )
            .add(Expr::cust(IS_NOT_OF_TRIAL))
    };
    let mut pruned = 0;
    loop {
        let some: Vec<i64> = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(is_over())
            .limit(MAX_LISTED)
            .into_tuple()
            .all(db)
            .await?;
        if some.is_empty() {
            return Ok(pruned);
        }
        let removed = in_parts(some, async |part| {
            let removed = Entity::delete_many().filter(part.has(Column::Id));
            Ok(vec![
                removed.filter(is_over()).exec(db).await?.rows_affected,
            ])
        });
        pruned += removed.await?.iter().sum::<u64>();
    }
}

/// Adds or changes a seat.
///
/// # Errors
/// If the database returns an error.
pub async fn save(db: &impl ConnectionTrait, seat: &Seat) -> Result<(), StoreError> {
    let row = row::of(seat);
    if seat.row.is_some() {
        writes::save(db, &row).await?;
    } else {
        writes::insert(db, Entity::insert(row)).await?;
    }
    Ok(())
}

fn overlap_word<S: Serializer>(overlap: &Option<Overlap>, to: S) -> Result<S::Ok, S::Error> {
    overlap.map(Overlap::as_str).serialize(to)
}

fn thumbprint_of<S: Serializer>(bound: &Option<BoundKey>, to: S) -> Result<S::Ok, S::Error> {
    bound.as_ref().map(BoundKey::jkt).serialize(to)
}
