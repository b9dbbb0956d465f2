//! `console_sessions`: browsers that are signed in, shared by all servers on the database. A row
//! contains the hash of the browser's session name.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime, Utc};
use license_service::database::{ExpectedTable, writes};
use license_service::sessions::SessionTimes;
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _};

use super::StoreError;
use super::parts::in_parts;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "console_sessions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    id: String,
    begun_at: NaiveDateTime,
    used_at: NaiveDateTime,
    token_id: Option<i64>,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[])
}

/// A session that was not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleSession {
    /// The hash of its name.
    pub id: String,
    /// When it began, and when it was last used.
    pub times: SessionTimes,
    /// The named token that began it; `None` for the `ADMIN_TOKEN`.
    pub token: Option<i64>,
}

/// Adds a session that begins now, with this named token.
///
/// # Errors
/// If the database returns an error.
pub async fn add(
    db: &impl ConnectionTrait,
    id: &str,
    token: Option<i64>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let row = ActiveModel {
        id: ActiveValue::Set(id.to_owned()),
        begun_at: ActiveValue::Set(now.naive_utc()),
        used_at: ActiveValue::Set(now.naive_utc()),
        token_id: ActiveValue::Set(token),
    };
    Ok(writes::insert(db, Entity::insert(row)).await?)
}

/// Those of these sessions that were not ended.
///
/// # Errors
/// If the database returns an error.
pub async fn find(
    db: &impl ConnectionTrait,
    ids: &BTreeSet<String>,
) -> Result<Vec<ConsoleSession>, StoreError> {
    let rows = in_parts(ids.iter().cloned(), |part| {
        Entity::find().filter(part.has(Column::Id)).all(db)
    });
    let rows = rows.await?;
    let session = |row: Model| ConsoleSession {
        id: row.id,
        times: SessionTimes {
            begun: row.begun_at.and_utc(),
            used: row.used_at.and_utc(),
        },
        token: row.token_id,
    };
    Ok(rows.into_iter().map(session).collect())
}

/// Records that a session was used.
///
/// # Errors
/// If the database returns an error.
pub async fn note_used(
    db: &impl ConnectionTrait,
    id: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    // The session may have been ended meanwhile.
    let used = vec![(Column::UsedAt, now.naive_utc().into())];
    writes::update_if::<Entity>(db, Column::Id.eq(id), used).await?;
    Ok(())
}

/// Ends these sessions.
///
/// # Errors
/// If the database returns an error.
pub async fn remove(db: &impl ConnectionTrait, ids: &BTreeSet<String>) -> Result<(), StoreError> {
    remove_all(db, ids.iter().cloned()).await
}

/// Ends the sessions that a named token began.
///
/// # Errors
/// If the database returns an error.
pub async fn remove_of_token(db: &impl ConnectionTrait, token: i64) -> Result<(), StoreError> {
    Entity::delete_many()
        .filter(Column::TokenId.eq(token))
        .exec(db)
        .await?;
    Ok(())
}

/// Removes sessions that were last used before an instant, and all but the `keep` most recently used
/// ones of those that a token began: no token ends the sessions of another one. Returns how many of
/// the token's are left.
///
/// # Errors
/// If the database returns an error.
pub async fn prune(
    db: &impl ConnectionTrait,
    before: DateTime<Utc>,
    token: Option<i64>,
    keep: u64,
) -> Result<u64, StoreError> {
    Entity::delete_many()
        .filter(Column::UsedAt.lt(before.naive_utc()))
        .exec(db)
        .await?;
    let of_token = match token {
        Some(token) => Column::TokenId.eq(token),
        None => Column::TokenId.is_null(),
    };
    let too_many: Vec<String> = Entity::find()
        .filter(of_token.clone())
        .select_only()
        .column(Column::Id)
        .order_by_desc(Column::UsedAt)
        .order_by_desc(Column::Id)
        .offset(keep)
        .limit(super::seats::MAX_LISTED)
        .into_tuple()
        .all(db)
        .await?;
    remove_all(db, too_many).await?;
    Ok(Entity::find().filter(of_token).count(db).await?)
}

async fn remove_all(
    db: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = String>,
) -> Result<(), StoreError> {
    let removed = in_parts(ids, async |part| {
        let removed = Entity::delete_many().filter(part.has(Column::Id)).exec(db);
        Ok(vec![removed.await?.rows_affected])
    });
    removed.await.map(drop)
}
