//! `locks`: one row for each thing that only one transaction may change at a time, which no row of
//! another table stands for. Only users of the database who may write to this table can hold one, which
//! is not so for advisory locks.
//!
//! # The order of locks
//!
//! A transaction locks rows in this order, so that no two wait for each other:
//!
//! 1. rows of this table, in the order of [`Lock`];
//! 2. customers, and those of one transaction in the order of their ids;
//! 3. trial codes;
//! 4. licenses, and then what belongs to one: its seats, amendments and add-on keys;
//! 5. a token that is revoked, and then the author's token, for the entry in the audit log. If two
//!    authors revoke each other's tokens, PostgreSQL ends one of the transactions, which is
//!    repeated.
//!
//! A license gets another customer in one of two ways. Staff name the customer, who is then locked
//! before the license ([`hold_for_customer`](crate::licensing::customers)). Or a change that was
//! scheduled falls due: only the license tells, so the customer is locked after it
//! ([`judged`](super::licenses::judged)). This can only meet a merge of the license's present customer
//! into the next one. PostgreSQL then ends one of the two transactions, which is repeated.

use license_service::database::ExpectedTable;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, QuerySelect as _};

use super::StoreError;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "locks")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    name: String,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&[Column::Name]])
}

/// What only one transaction changes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// The names and references of customers.
    CustomerNames,
    /// The number of tokens.
    Tokens,
    /// The number and the kinds of the entries of the catalogue.
    Catalogue,
    /// The number of plans.
    Plans,
    /// The number of sessions of the console.
    Sessions,
}

impl Lock {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::CustomerNames,
        Self::Tokens,
        Self::Catalogue,
        Self::Plans,
        Self::Sessions,
    ];

    /// The name of its row.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CustomerNames => "customer_names",
            Self::Tokens => "tokens",
            Self::Catalogue => "catalogue",
            Self::Plans => "plans",
            Self::Sessions => "sessions",
        }
    }
}

/// Adds something of which there can be at most `max`: holds the lock, then counts, then adds.
/// Otherwise two transactions at the same time would each find room for one. Returns `None` if there
/// is no room; nothing was added then.
///
/// # Errors
/// As [`hold`], and those of counting and adding.
pub async fn add_within<T, E: From<StoreError>>(
    db: &impl ConnectionTrait,
    lock: Lock,
    max: u64,
    count: impl Future<Output = Result<u64, StoreError>>,
    add: impl Future<Output = Result<T, E>>,
) -> Result<Option<T>, E> {
    hold(db, lock).await?;
    match count.await? < max {
        true => add.await.map(Some),
        false => Ok(None),
    }
}

/// Keeps others from holding a lock until the transaction ends.
///
/// # Errors
/// If the database returns an error, or does not have or show the row.
pub async fn hold(db: &impl ConnectionTrait, lock: Lock) -> Result<(), StoreError> {
    // On SQLite, the transaction already has exclusive access to the file.
    let found = Entity::find_by_id(lock.name()).lock(LockType::NoKeyUpdate);
    match found.one(db).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::Database(DbErr::Custom(format!(
            "the row '{}' in table locks is missing, or hidden by row-level security; insert the \
             row, or make the user in DATABASE_URL the owner of the tables",
            lock.name()
        )))),
    }
}
