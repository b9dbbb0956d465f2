//! `idempotency_keys`: calls with an `Idempotency-Key` that have changed something or were answered,
//! with their answers. Neither the keys nor the answers can be read from it.

use chrono::{DateTime, NaiveDateTime, Utc};
use license_core::idempotency::{Keyed, Noted};
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, OnConflict};
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _};

use super::StoreError;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_keys")]
pub struct Model {
    /// Hash of the key and those who share it.
    #[sea_orm(primary_key, auto_increment = false)]
    id: String,
    of_staff: bool,
    /// Hashes of what the call says.
    caller: String,
    request: String,
    headers: String,
    /// A random id of the process's attempt to answer the call.
    attempt: String,
    noted_at: NaiveDateTime,
    done: Option<String>,
    status: Option<i32>,
    answer: Option<String>,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&[Column::Id]])
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedAnswer {
    /// The status code.
    pub status: u16,
    /// The encrypted body; `None` if it is too long to be kept.
    pub body: Option<String>,
}

/// A call as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedCall {
    caller: String,
    request: String,
    headers: String,
    /// The attempt that stored the call.
    pub attempt: String,
    /// When it changed something, or was answered.
    pub at: DateTime<Utc>,
    /// What the first of its changes is, for people; `None` if it has changed nothing that the audit
    /// log records.
    pub done: Option<String>,
    /// Its answer; `None` until it is answered.
    pub answer: Option<SealedAnswer>,
}

impl NotedCall {
    /// What the rules know of it.
    #[must_use]
    pub fn noted(&self) -> Noted<'_> {
        let body = self.answer.as_ref().and_then(|it| it.body.as_ref());
        Noted {
            caller: &self.caller,
            request: &self.request,
            headers: &self.headers,
            at: self.at,
            is_answered: body.is_some(),
        }
    }
}

impl From<Model> for NotedCall {
    fn from(row: Model) -> Self {
        let status = row.status.and_then(|it| u16::try_from(it).ok());
        Self {
            caller: row.caller,
            request: row.request,
            headers: row.headers,
            attempt: row.attempt,
            at: row.noted_at.and_utc(),
            done: row.done,
            answer: status.map(|status| SealedAnswer {
                status,
                body: row.answer,
            }),
        }
    }
}

/// What is stored for a key.
///
/// # Errors
/// If the database returns an error.
pub async fn find(db: &impl ConnectionTrait, id: &str) -> Result<Option<NotedCall>, StoreError> {
    Ok(Entity::find_by_id(id).one(db).await?.map(NotedCall::from))
}

/// A call to store.
#[derive(Clone, Copy, Debug)]
pub struct NewCall<'a> {
    /// The call.
    pub keyed: &'a Keyed,
    /// The attempt to answer it.
    pub attempt: &'a str,
    /// When.
    pub at: DateTime<Utc>,
    /// What its first change is.
    pub done: Option<&'a str>,
    /// Its answer, if it is known.
    pub answer: Option<&'a SealedAnswer>,
}

/// Stores a call, unless one is stored for the key; returns whether it was stored. If another
/// transaction is storing one, this waits for its end.
///
/// # Errors
/// If the database returns an error.
pub async fn insert(db: &impl ConnectionTrait, call: &NewCall<'_>) -> Result<bool, StoreError> {
    let NewCall { keyed, answer, .. } = call;
    let row = ActiveModel {
        id: ActiveValue::Set(keyed.id.clone()),
        of_staff: ActiveValue::Set(keyed.of_staff),
        caller: ActiveValue::Set(keyed.caller.clone()),
        request: ActiveValue::Set(keyed.request.clone()),
        headers: ActiveValue::Set(keyed.headers.clone()),
        attempt: ActiveValue::Set(call.attempt.to_owned()),
        noted_at: ActiveValue::Set(call.at.naive_utc()),
        done: ActiveValue::Set(call.done.map(str::to_owned)),
        status: ActiveValue::Set(answer.map(|it| it.status.into())),
        answer: ActiveValue::Set(answer.and_then(|it| it.body.clone())),
    };
    let mut on_conflict = OnConflict::column(Column::Id);
    let insert = Entity::insert(row).on_conflict(on_conflict.do_nothing().to_owned());
    let existing = Column::Id.eq(&keyed.id);
    Ok(writes::insert_if_missing(db, insert, existing).await?)
}

/// Stores the answer of an attempt that has stored its call; returns whether it has.
///
/// # Errors
/// If the database returns an error.
pub async fn set_answer(
    db: &impl ConnectionTrait,
    id: &str,
    attempt: &str,
    answer: &SealedAnswer,
) -> Result<bool, StoreError> {
    let row = Column::Id.eq(id).and(Column::Attempt.eq(attempt));
    let values = vec![
        (Column::Status, Expr::value(Some(i32::from(answer.status)))),
        (Column::Answer, Expr::value(answer.body.clone())),
    ];
    Ok(writes::update_if::<Entity>(db, row, values).await?)
}

/// Removes what an attempt has stored, if it is still there.
///
/// # Errors
/// If the database returns an error.
pub async fn remove(db: &impl ConnectionTrait, id: &str, attempt: &str) -> Result<(), StoreError> {
    let row = Column::Id.eq(id).and(Column::Attempt.eq(attempt));
    Entity::delete_many().filter(row).exec(db).await?;
    Ok(())
}

/// How many calls are kept; the oldest beyond these numbers are removed.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Of each token of the vendor's staff.
    pub of_token: u64,
    /// Of each machine.
    pub of_machine: u64,
    /// Of the vendor's staff, and as many of sites.
    pub of_all: u64,
}

/// Removes calls from before this time, and the oldest of those that exceed the bounds.
///
/// # Errors
/// If the database returns an error.
pub async fn prune(
    db: &impl ConnectionTrait,
    before: DateTime<Utc>,
    bounds: &Bounds,
) -> Result<(), StoreError> {
    for (of_staff, of_caller) in [(true, bounds.of_token), (false, bounds.of_machine)] {
        // An index begins with this column.
        let of_kind = Column::OfStaff.eq(of_staff);
        let outdated = of_kind.clone().and(Column::NotedAt.lt(before.naive_utc()));
        Entity::delete_many().filter(outdated).exec(db).await?;
        let crowded: Vec<String> = Entity::find()
            .select_only()
            .column(Column::Caller)
            .filter(of_kind.clone())
            .group_by(Column::Caller)
            .having(Column::Id.count().gt(of_caller))
            .limit(MAX_CROWDED)
            .into_tuple()
            .all(db)
            .await?;
        for caller in crowded {
            remove_oldest(db, Column::Caller.eq(caller), of_caller).await?;
        }
        remove_oldest(db, of_kind, bounds.of_all).await?;
    }
    Ok(())
}

/// Maximum number of callers whose calls are removed at a time.
const MAX_CROWDED: u64 = 1_000;

/// Removes all of these calls but the newest ones.
async fn remove_oldest(
    db: &impl ConnectionTrait,
    calls: Expr,
    kept: u64,
) -> Result<(), StoreError> {
    let first_removed: Option<NaiveDateTime> = Entity::find()
        .select_only()
        .column(Column::NotedAt)
        .filter(calls.clone())
        .order_by_desc(Column::NotedAt)
        .offset(kept)
        .limit(1)
        .into_tuple()
        .one(db)
        .await?;
    let Some(first_removed) = first_removed else {
        return Ok(());
    };
    let is_old = Column::NotedAt.lte(first_removed);
    Entity::delete_many()
        .filter(calls.and(is_old))
        .exec(db)
        .await?;
    Ok(())
}
