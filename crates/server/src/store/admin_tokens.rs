//! `admin_tokens`: the tokens of the vendor's staff. A row contains the hash of its token, and stays
//! when the token is revoked.

use chrono::{DateTime, NaiveDateTime, Utc};
use license_service::admin_token::AdminToken;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, LockType};
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::page::Page;
use super::page_bytes::page;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "admin_tokens")]
pub struct Model {
    #[sea_orm(primary_key)]
    id: i64,
    name: String,
    hash: String,
    note: Option<String>,
    created_at: NaiveDateTime,
    created_by: String,
    expires_at: Option<NaiveDateTime>,
    last_used_at: Option<NaiveDateTime>,
    revoked_at: Option<NaiveDateTime>,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&[Column::Hash]])
}

/// A token of a person or program, without the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedToken {
    /// The number of the row; 0 until it is stored.
    pub id: i64,
    /// The author of changes that are made with it.
    pub name: String,
    /// For people.
    pub note: Option<String>,
    /// When it was created …
    pub created_at: DateTime<Utc>,
    /// … and by whom.
    pub created_by: String,
    /// The last instant at which it may be used; `None` if it has no end.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl NamedToken {
    /// Whether its end has passed. The end itself is included.
    #[must_use]
    pub fn has_ended(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|end| end < now)
    }
}

/// A position in the list of tokens, which begins with the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokensCursor {
    /// Those with lower numbers follow.
    pub below: i64,
}

/// Adds a token; returns it with its number.
///
/// # Errors
/// If the database returns an error, for example because a token that is not revoked has this
/// name.
pub async fn insert(
    db: &impl ConnectionTrait,
    token: NamedToken,
    hash: &AdminToken,
) -> Result<NamedToken, StoreError> {
    let row = ActiveModel {
        id: ActiveValue::NotSet,
        name: ActiveValue::Set(token.name.clone()),
        hash: ActiveValue::Set(hash.hash_text()),
        note: ActiveValue::Set(token.note.clone()),
        created_at: ActiveValue::Set(token.created_at.naive_utc()),
        created_by: ActiveValue::Set(token.created_by.clone()),
        expires_at: ActiveValue::Set(token.expires_at.map(|at| at.naive_utc())),
        last_used_at: ActiveValue::Set(None),
        revoked_at: ActiveValue::Set(None),
    };
    let id = writes::insert_for_id(db, Entity::insert(row)).await?;
    Ok(NamedToken { id, ..token })
}

/// The token with this name that is not revoked.
///
/// # Errors
/// If the database returns an error.
pub async fn find(db: &impl ConnectionTrait, name: &str) -> Result<Option<NamedToken>, StoreError> {
    let found = unrevoked().filter(Column::Name.eq(name)).one(db).await?;
    Ok(found.map(NamedToken::from))
}

/// Checks that a token may be used at an instant, and keeps it from being revoked until the
/// transaction ends: a revocation takes effect before a change of the token's owner or after it.
///
/// # Errors
/// [`StoreError::TokenRevoked`], [`StoreError::TokenExpired`], or if the database returns an error.
pub async fn check_usable(
    db: &impl ConnectionTrait,
    id: i64,
    name: &str,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    // On SQLite, the transaction already has exclusive access to the file.
    let found = Entity::find_by_id(id).lock(LockType::Share).one(db).await?;
    let found = found.map(NamedToken::from);
    match found.filter(|token| token.revoked_at.is_none()) {
        None => Err(StoreError::TokenRevoked(name.to_owned())),
        Some(token) if token.has_ended(at) => Err(StoreError::TokenExpired(token.name)),
        Some(_) => Ok(()),
    }
}

/// Locks a token until the transaction ends: changes that are being made with it end first.
///
/// # Errors
/// If the database returns an error.
pub async fn hold(db: &impl ConnectionTrait, id: i64) -> Result<(), StoreError> {
    // On SQLite, the transaction already has exclusive access to the file.
    let found = Entity::find_by_id(id).lock(LockType::NoKeyUpdate);
    found.one(db).await?;
    Ok(())
}

/// All tokens that are not revoked, with what compares them: one that is left out would be refused.
/// Rows whose hash this program did not write are left out.
///
/// # Errors
/// If the database returns an error.
pub async fn usable(
    db: &impl ConnectionTrait,
) -> Result<Vec<(AdminToken, NamedToken)>, StoreError> {
    let rows = unrevoked().all(db).await?;
    let tokens = rows.into_iter().filter_map(|row| {
        let hash = AdminToken::of_hash(&row.hash)?;
        Some((hash, NamedToken::from(row)))
    });
    Ok(tokens.collect())
}

/// The number of tokens that are not revoked.
///
/// # Errors
/// If the database returns an error.
pub async fn count_usable(db: &impl ConnectionTrait) -> Result<u64, StoreError> {
    Ok(unrevoked().count(db).await?)
}

/// The number of all tokens.
///
/// # Errors
/// If the database returns an error.
pub async fn count(db: &impl ConnectionTrait) -> Result<u64, StoreError> {
    Ok(Entity::find().count(db).await?)
}

/// A page of all tokens, newest first.
///
/// # Errors
/// If the database returns an error.
pub async fn newest(
    db: &impl ConnectionTrait,
    after: Option<&TokensCursor>,
    most: u64,
) -> Result<Page<NamedToken>, StoreError> {
    let mut found = Entity::find();
    if let Some(cursor) = after {
        found = found.filter(Column::Id.lt(cursor.below));
    }
    let found = page(db, found.order_by_desc(Column::Id), most).await?;
    Ok(found.map(NamedToken::from))
}

/// Revokes a token; returns whether it was not revoked before.
///
/// # Errors
/// If the database returns an error.
pub async fn revoke(
    db: &impl ConnectionTrait,
    id: i64,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let usable = Column::Id.eq(id).and(Column::RevokedAt.is_null());
    let revoked = vec![(Column::RevokedAt, now.naive_utc().into())];
    Ok(writes::update_if::<Entity>(db, usable, revoked).await?)
}

/// Records that a token was used.
///
/// # Errors
/// If the database returns an error.
pub async fn note_used(
    db: &impl ConnectionTrait,
    id: i64,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let used = vec![(Column::LastUsedAt, now.naive_utc().into())];
    Ok(writes::update_one::<Entity>(db, Column::Id.eq(id), used).await?)
}

fn unrevoked() -> Select<Entity> {
    Entity::find().filter(Column::RevokedAt.is_null())
}

impl From<Model> for NamedToken {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            name: row.name,
            note: row.note,
            created_at: row.created_at.and_utc(),
            created_by: row.created_by,
            expires_at: row.expires_at.map(|at| at.and_utc()),
            last_used_at: row.last_used_at.map(|at| at.and_utc()),
            revoked_at: row.revoked_at.map(|at| at.and_utc()),
        }
    }
}
