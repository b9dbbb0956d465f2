//! `catalogue`: what can be sold. Entries are added and described again, never removed.

use license_core::catalogue::{Catalogue, CatalogueEntry, Kind};
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait, QueryOrder as _};

use super::StoreError;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "catalogue")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    key: String,
    kind: String,
    name: String,
    unit: String,
    description: String,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&[Column::Key]])
}

/// Adds an entry, or stores its other description.
///
/// # Errors
/// If the database returns an error.
pub async fn save(db: &impl ConnectionTrait, entry: &CatalogueEntry) -> Result<(), StoreError> {
    let row = ActiveModel {
        key: ActiveValue::Set(entry.key.clone()),
        kind: ActiveValue::Set(entry.kind.as_str().to_owned()),
        name: ActiveValue::Set(entry.name.clone()),
        unit: ActiveValue::Set(entry.unit.clone()),
        description: ActiveValue::Set(entry.description.clone()),
    };
    let changed = [
        Column::Kind,
        Column::Name,
        Column::Unit,
        Column::Description,
    ];
    Ok(writes::upsert::<Entity>(db, writes::values(&row), &[Column::Key], &changed).await?)
}

/// All entries, by key.
///
/// # Errors
/// If the database returns an error, or a row cannot be read.
pub async fn list(db: &impl ConnectionTrait) -> Result<Vec<CatalogueEntry>, StoreError> {
    let rows = Entity::find().order_by_asc(Column::Key).all(db).await?;
    rows.into_iter().map(entry).collect()
}

/// The number of entries.
///
/// # Errors
/// If the database returns an error.
pub async fn count(db: &impl ConnectionTrait) -> Result<u64, StoreError> {
    Ok(Entity::find().count(db).await?)
}

/// The kinds of everything that can be sold.
///
/// # Errors
/// As [`list`].
pub async fn kinds(db: &impl ConnectionTrait) -> Result<Catalogue, StoreError> {
    Ok(list(db).await?.iter().collect())
}

fn entry(row: Model) -> Result<CatalogueEntry, StoreError> {
    let kind = Kind::of(&row.kind).ok_or(StoreError::Value {
        column: "catalogue.kind",
        value: row.kind,
    })?;
    Ok(CatalogueEntry {
        key: row.key,
        kind,
        name: row.name,
        unit: row.unit,
        description: row.description,
    })
}
