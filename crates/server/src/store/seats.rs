//! `seats`: which machine holds which license.
//!
//! A seat that was freed keeps its row until some days after its last lease has ended: it still
//! counts while that lease runs, and its sequence number keeps growing.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use license_core::file_trail::FileTrail;
use license_core::fleet::Signed;
use license_core::folded_text::folded;
use license_core::regressions::Regressions;
use license_core::seat::{Overlap, SeatState};
use license_core::suspicion::{FormerInstallation, Report, Suspicion, Trail};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Func;
use sea_orm::{
    ActiveValue, Condition, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _,
};
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::StoreError;

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
}

/// Whose seat it is.
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

/// One machine's hold on one license.
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
    /// What people call it.
    pub installation_name: String,
    /// The VMS's version.
    pub installation_version: String,
    /// When the machine took the seat.
    pub activated_at: DateTime<Utc>,
    /// When an activation of the machine was answered last, whether or not it held
    /// the seat before.
    #[serde(skip)]
    pub last_activated_at: DateTime<Utc>,
    /// When the machine called last.
    pub last_seen_at: DateTime<Utc>,
    /// When the seat was given back; `None` while it is held.
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
    /// `moved` or `released` where the place of a freed seat was passed on before
    /// its lease ended.
    #[serde(serialize_with = "overlap_word")]
    #[schema(value_type = Option<String>)]
    pub overlap: Option<Overlap>,
    /// What tells a copy from the machine itself.
    #[serde(skip)]
    trail: Trail,
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
            trail: Trail::default(),
        }
    }

    /// What the rules about seats need to know.
    #[must_use]
    pub fn state(&self) -> SeatState {
        SeatState {
            is_held: self.is_held(),
            signed_until: self.signed_until,
            overlap: self.overlap,
        }
    }

    /// Its place in lists, which are in the order in which seats were taken first.
    #[must_use]
    pub fn cursor(&self) -> Option<i64> {
        self.row
    }

    /// Notes that a lease was signed. One that ends sooner than another before it
    /// changes nothing.
    pub fn note_signed(&mut self, signed: Signed) {
        self.signed_until = self.signed_until.max(Some(signed.exp));
    }

    /// What tells a copy of the machine from the machine itself.
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

    /// Notes that the site will know the newest sequence number.
    pub fn note_answer(&mut self, report: &Report<'_>) {
        self.trail.note_answer(report, self.last_seq);
    }

    /// Notes the answer to a request file: the newest number, whose lease ends at `exp`.
    /// Answers what staff should review.
    #[must_use]
    pub fn note_file(&mut self, report: &Report<'_>, exp: DateTime<Utc>) -> Option<Suspicion> {
        self.trail.note_file(report, self.last_seq, exp)
    }

    /// Notes the lost number by which a machine takes its seat.
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
/// When the database refuses.
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

/// Seats of a license whose hardware ids begin with a text, two at most: held, freed or
/// either.
///
/// # Errors
/// When the database refuses.
pub async fn beginning_with(
    db: &impl ConnectionTrait,
    license_id: &str,
    prefix: &str,
    held: Option<bool>,
) -> Result<Vec<Seat>, StoreError> {
    let query = SeatsQuery {
        held,
        ..SeatsQuery::default()
    };
    let length = i32::try_from(prefix.chars().count()).unwrap_or(i32::MAX);
    let start = Func::cust("SUBSTR")
        .arg(Expr::col((Entity, Column::HardwareId)))
        .arg(Expr::value(1))
        .arg(Expr::value(length));
    let rows = filtered(license_id, &query)
        .filter(sea_orm::sea_query::ExprTrait::eq(Expr::expr(start), prefix))
        .limit(2)
        .all(db)
        .await?;
    rows.into_iter().map(Seat::try_from).collect()
}

/// Whether there is any seat of any license, held or freed.
///
/// # Errors
/// When the database refuses.
pub async fn any(db: &impl ConnectionTrait) -> Result<bool, StoreError> {
    Ok(Entity::find().one(db).await?.is_some())
}

/// How many seats of each of these licenses are held. Licenses without held seats are omitted.
///
/// # Errors
/// When the database refuses.
pub async fn count_held_of(
    db: &impl ConnectionTrait,
    license_ids: Vec<String>,
) -> Result<HashMap<String, u64>, StoreError> {
    let counts: Vec<(String, i64)> = Entity::find()
        .select_only()
        .column(Column::LicenseId)
        .column_as(Column::Id.count(), "held")
        .filter(Column::LicenseId.is_in(license_ids))
        .filter(Column::FreedAt.is_null())
        .group_by(Column::LicenseId)
        .into_tuple()
        .all(db)
        .await?;
    let counts = counts.into_iter();
    Ok(counts.map(|(id, held)| (id, held.unsigned_abs())).collect())
}

/// Which seats of a license.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeatsQuery {
    /// Only those that are held, or only those that are freed.
    pub held: Option<bool>,
    /// Only those after this [`Seat::cursor`].
    pub after: Option<i64>,
    /// How many are passed over.
    pub offset: u64,
    /// Those freed last come first; otherwise those taken first.
    pub freed_last_first: bool,
}

impl SeatsQuery {
    /// All that are held.
    #[must_use]
    pub fn held() -> Self {
        Self {
            held: Some(true),
            ..Self::default()
        }
    }
}

/// Maximum number of seats in one answer.
pub const MAX_LISTED: u64 = 1000;

/// Seats of a license, at most `limit` and at most [`MAX_LISTED`].
///
/// # Errors
/// When the database refuses.
pub async fn list(
    db: &impl ConnectionTrait,
    license_id: &str,
    query: &SeatsQuery,
    limit: u64,
) -> Result<Vec<Seat>, StoreError> {
    let mut found = filtered(license_id, query);
    if query.freed_last_first {
        found = found.order_by_desc(Column::FreedAt);
    }
    let rows = found
        .order_by_asc(Column::Id)
        .offset(query.offset.min(super::MAX_ROWS))
        .limit(limit.min(MAX_LISTED))
        .all(db)
        .await?;
    rows.into_iter().map(Seat::try_from).collect()
}

/// How many seats of a license match, wherever a page begins.
///
/// # Errors
/// When the database refuses.
pub async fn count(
    db: &impl ConnectionTrait,
    license_id: &str,
    query: &SeatsQuery,
) -> Result<u64, StoreError> {
    let query = SeatsQuery {
        after: None,
        ..*query
    };
    Ok(filtered(license_id, &query).count(db).await?)
}

fn filtered(license_id: &str, query: &SeatsQuery) -> Select<Entity> {
    let mut found = Entity::find().filter(Column::LicenseId.eq(license_id));
    match query.held {
        Some(true) => found = found.filter(Column::FreedAt.is_null()),
        Some(false) => found = found.filter(Column::FreedAt.is_not_null()),
        None => {}
    }
    if let Some(after) = query.after {
        found = found.filter(Column::Id.gt(after));
    }
    found
}

/// How many seats of a license machines other than this one hold.
///
/// # Errors
/// When the database refuses.
pub async fn count_held_by_others(
    db: &impl ConnectionTrait,
    license_id: &str,
    hardware_id: &str,
) -> Result<u64, StoreError> {
    Ok(Entity::find()
        .filter(Column::LicenseId.eq(license_id))
        .filter(Column::FreedAt.is_null())
        .filter(Column::HardwareId.ne(hardware_id))
        .count(db)
        .await?)
}

/// How many seats of other machines are waiting for their leases to end: those of
/// which [`SeatState::is_waiting`] is true.
///
/// # Errors
/// When the database refuses.
pub async fn count_waiting(
    db: &impl ConnectionTrait,
    license_id: &str,
    hardware_id: &str,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    Ok(waiting_seats(license_id, hardware_id, now)
        .count(db)
        .await?)
}

/// Those of them whose leases end soonest.
///
/// # Errors
/// When the database refuses.
pub async fn waiting(
    db: &impl ConnectionTrait,
    license_id: &str,
    hardware_id: &str,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<Seat>, StoreError> {
    let rows = waiting_seats(license_id, hardware_id, now)
        .order_by_asc(Column::SignedUntil)
        .order_by_asc(Column::Id)
        .limit(limit.min(MAX_LISTED))
        .all(db)
        .await?;
    rows.into_iter().map(Seat::try_from).collect()
}

fn waiting_seats(license_id: &str, hardware_id: &str, now: DateTime<Utc>) -> Select<Entity> {
    Entity::find()
        .filter(Column::LicenseId.eq(license_id))
        .filter(Column::HardwareId.ne(hardware_id))
        .filter(Column::FreedAt.is_not_null())
        .filter(Column::Overlap.is_null())
        .filter(Column::SignedUntil.gte(now.naive_utc()))
}

/// Freed seats whose leases still run: first those that wait, then those whose place
/// was passed on. Of either, those that end last come first.
///
/// # Errors
/// When the database refuses.
pub async fn running_freed(
    db: &impl ConnectionTrait,
    license_id: &str,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<Seat>, StoreError> {
    let rows = running_freed_seats(license_id, now)
        .order_by_desc(Column::Overlap.is_null())
        .order_by_desc(Column::SignedUntil)
        .order_by_desc(Column::Id)
        .limit(limit.min(MAX_LISTED))
        .all(db)
        .await?;
    rows.into_iter().map(Seat::try_from).collect()
}

/// How many of them there are.
///
/// # Errors
/// When the database refuses.
pub async fn count_running_freed(
    db: &impl ConnectionTrait,
    license_id: &str,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    Ok(running_freed_seats(license_id, now).count(db).await?)
}

fn running_freed_seats(license_id: &str, now: DateTime<Utc>) -> Select<Entity> {
    Entity::find()
        .filter(Column::LicenseId.eq(license_id))
        .filter(Column::FreedAt.is_not_null())
        .filter(Column::SignedUntil.gte(now.naive_utc()))
}

/// Removes freed seats whose last lease ended before an instant. Answers how many.
///
/// # Errors
/// When the database refuses.
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
        let removed = Entity::delete_many()
            .filter(Column::Id.is_in(some))
            .filter(is_over())
            .exec(db)
            .await?;
        pruned += removed.rows_affected;
    }
}

/// Adds or changes a seat.
///
/// # Errors
/// When the database refuses.
pub async fn save(db: &impl ConnectionTrait, seat: &Seat) -> Result<(), StoreError> {
    let regressions = &seat.trail.regressions;
    let row = ActiveModel {
        id: seat.row.map_or(ActiveValue::NotSet, ActiveValue::Unchanged),
        license_id: ActiveValue::Set(seat.license_id.clone()),
        hardware_id: ActiveValue::Set(seat.hardware_id.clone()),
        installation_id: ActiveValue::Set(seat.installation_id.clone()),
        installation_name: ActiveValue::Set(seat.installation_name.clone()),
        installation_name_folded: ActiveValue::Set(folded(&seat.installation_name)),
        installation_version: ActiveValue::Set(seat.installation_version.clone()),
        activated_at: ActiveValue::Set(seat.activated_at.naive_utc()),
        last_activated_at: ActiveValue::Set(Some(seat.last_activated_at.naive_utc())),
        last_seen_at: ActiveValue::Set(seat.last_seen_at.naive_utc()),
        freed_at: ActiveValue::Set(seat.freed_at.map(|time| time.naive_utc())),
        last_seq: ActiveValue::Set(number(seat.last_seq)),
        usage: ActiveValue::Set(seat.usage.clone()),
        system_info: ActiveValue::Set(seat.system_info.clone()),
        answered_seq: ActiveValue::Set(number(seat.trail.answered)),
        behind_seq: ActiveValue::Set(seat.trail.behind_at.map(number)),
        behind: ActiveValue::Set(i32::try_from(seat.trail.behind).unwrap_or(i32::MAX)),
        former_installations: ActiveValue::Set(former_installations_json(&seat.trail)),
        valid_until: ActiveValue::Set(seat.signed.map(|it| it.valid_until.naive_utc())),
        exp: ActiveValue::Set(seat.signed.map(|it| it.exp.naive_utc())),
        signed_until: ActiveValue::Set(seat.signed_until.map(|time| time.naive_utc())),
        overlap: ActiveValue::Set(seat.overlap.map(|it| it.as_str().to_owned())),
        says_seq: ActiveValue::Set(seat.trail.says_seq),
        acknowledged_seq: ActiveValue::Set(number(seat.trail.acknowledged)),
        regressed_seq: ActiveValue::Set(regressions.newest.map(number)),
        regressed_at: ActiveValue::Set(regression_times_json(&seat.trail)),
        behind_since: ActiveValue::Set(seat.trail.behind_since.map(|time| time.naive_utc())),
        lost_claim_seq: ActiveValue::Set(seat.trail.lost_claim.map(number)),
        request_files: ActiveValue::Set(request_files_json(&seat.trail)),
    };
    if seat.row.is_some() {
        Entity::update(row).exec(db).await?;
    } else {
        Entity::insert(row).exec_without_returning(db).await?;
    }
    Ok(())
}

/// `None` for none: most seats have none.
fn former_installations_json(trail: &Trail) -> Option<Value> {
    let former = Some(&trail.former_installations).filter(|former| !former.is_empty());
    former.and_then(|former| serde_json::to_value(former).ok())
}

/// `None` for none: most seats are answered over the network alone.
fn request_files_json(trail: &Trail) -> Option<Value> {
    let files = Some(&trail.files).filter(|files| **files != FileTrail::default());
    files.and_then(|files| serde_json::to_value(files).ok())
}

/// `None` for none: no honest site has any.
fn regression_times_json(trail: &Trail) -> Option<Value> {
    let times = Some(&trail.regressions.times).filter(|times| !times.is_empty());
    times.and_then(|times| serde_json::to_value(times).ok())
}

fn regression_times(json: Option<Value>) -> Result<Vec<DateTime<Utc>>, StoreError> {
    let Some(json) = json else {
        return Ok(Vec::new());
    };
    serde_json::from_value(json.clone()).map_err(|_| StoreError::Value {
        column: "seats.regressed_at",
        value: json.to_string(),
    })
}

fn request_files(json: Option<Value>) -> Result<FileTrail, StoreError> {
    let Some(json) = json else {
        return Ok(FileTrail::default());
    };
    serde_json::from_value(json.clone()).map_err(|_| StoreError::Value {
        column: "seats.request_files",
        value: json.to_string(),
    })
}

fn former_installations(json: Option<Value>) -> Result<Vec<FormerInstallation>, StoreError> {
    let Some(json) = json else {
        return Ok(Vec::new());
    };
    serde_json::from_value(json.clone()).map_err(|_| StoreError::Value {
        column: "seats.former_installations",
        value: json.to_string(),
    })
}

fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn overlap_word<S: Serializer>(overlap: &Option<Overlap>, to: S) -> Result<S::Ok, S::Error> {
    overlap.map(Overlap::as_str).serialize(to)
}

fn overlap_of(word: &str) -> Result<Overlap, StoreError> {
    [Overlap::Moved, Overlap::Released]
        .into_iter()
        .find(|it| it.as_str() == word)
        .ok_or_else(|| StoreError::Value {
            column: "seats.overlap",
            value: word.to_owned(),
        })
}

impl TryFrom<Model> for Seat {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Ok(Self {
            row: Some(row.id),
            license_id: row.license_id,
            hardware_id: row.hardware_id,
            installation_id: row.installation_id,
            installation_name: row.installation_name,
            installation_version: row.installation_version,
            activated_at: row.activated_at.and_utc(),
            last_activated_at: row.last_activated_at.unwrap_or(row.activated_at).and_utc(),
            last_seen_at: row.last_seen_at.and_utc(),
            freed_at: row.freed_at.map(|time| time.and_utc()),
            last_seq: u64::try_from(row.last_seq).unwrap_or_default(),
            usage: row.usage,
            system_info: row.system_info,
            signed: row.valid_until.zip(row.exp).map(|(until, exp)| Signed {
                valid_until: until.and_utc(),
                exp: exp.and_utc(),
            }),
            signed_until: row.signed_until.map(|time| time.and_utc()),
            overlap: row.overlap.as_deref().map(overlap_of).transpose()?,
            trail: Trail {
                says_seq: row.says_seq,
                acknowledged: u64::try_from(row.acknowledged_seq).unwrap_or_default(),
                regressions: Regressions {
                    times: regression_times(row.regressed_at)?,
                    newest: row.regressed_seq.and_then(|seq| u64::try_from(seq).ok()),
                },
                answered: u64::try_from(row.answered_seq).unwrap_or_default(),
                behind_at: row.behind_seq.and_then(|seq| u64::try_from(seq).ok()),
                behind_since: row.behind_since.map(|time| time.and_utc()),
                behind: u32::try_from(row.behind).unwrap_or_default(),
                lost_claim: row.lost_claim_seq.and_then(|seq| u64::try_from(seq).ok()),
                files: request_files(row.request_files)?,
                former_installations: former_installations(row.former_installations)?,
                ..Trail::default()
            },
        })
    }
}
