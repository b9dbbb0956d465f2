//! `locks`: one row for each thing that only one transaction may change at a time, which no row of
//! another table stands for. Only users of the database who may write to this table can hold one, which
//! is not so for advisory locks.

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
}

impl Lock {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::CustomerNames, Self::Tokens];

    /// The name of its row.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CustomerNames => "customer_names",
            Self::Tokens => "tokens",
        }
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
            "the row '{}' in table locks is missing, or hidden by row-level security; insert it, or \
             make the user in DATABASE_URL the owner of the tables",
            lock.name()
        )))),
    }
}
