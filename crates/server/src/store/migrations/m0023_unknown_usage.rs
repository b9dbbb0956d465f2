//! Usage that is not known, and usage of everything but cameras, users and storage.

use sea_orm::{ConnectionTrait, DbBackend};
use sea_orm_migration::prelude::*;

use super::{add_column, create_index};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Postgres {
            return rebuild(manager).await;
        }
        let db = manager.get_connection();
        for column in ["cameras", "users", "storage_gb"] {
            let alter = format!("ALTER TABLE usage_days ALTER COLUMN {column} DROP NOT NULL");
            db.execute_unprepared(&alter).await?;
        }
        let counts = ColumnDef::new("counts").json().take();
        add_column(manager, "usage_days", counts).await
    }
}

/// SQLite changes no column.
async fn rebuild(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    const FORMER: &str = "former_usage_days";
    let db = manager.get_connection();
    let rename = format!("ALTER TABLE usage_days RENAME TO {FORMER}");
    db.execute_unprepared(&rename).await?;
    let column = |name: &'static str| ColumnDef::new(name);
    let usage_days = Table::create()
        .table("usage_days")
        .col(column("license_id").string_len(36).not_null())
        .col(column("hardware_id").string_len(255).not_null())
        .col(column("day").date().not_null())
        .col(column("heartbeats").big_integer().not_null())
        .col(column("cameras").big_integer())
        .col(column("users").big_integer())
        .col(column("storage_gb").big_integer())
        .col(column("counts").json())
        .primary_key(
            Index::create()
                .col("license_id")
                .col("hardware_id")
                .col("day"),
        )
        .to_owned();
    manager.create_table(usage_days).await?;
    let columns = "license_id, hardware_id, day, heartbeats, cameras, users, storage_gb";
    let copy = format!("INSERT INTO usage_days ({columns}) SELECT {columns} FROM {FORMER}");
    db.execute_unprepared(&copy).await?;
    db.execute_unprepared(&format!("DROP TABLE {FORMER}"))
        .await?;
    create_index(manager, "usage_days", &["day"]).await
}
