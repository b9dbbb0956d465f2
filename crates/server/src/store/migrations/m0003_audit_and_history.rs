//! The audit log, calls of each hour, and usage of each day.

use sea_orm_migration::prelude::*;

use super::{add_column, create_index};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let audit_log = Table::create()
            .table("audit_log")
            .col(
                column("id")
                    .integer()
                    .not_null()
                    .auto_increment()
                    .primary_key(),
            )
            .col(column("at").timestamp().not_null())
            .col(column("actor").string_len(255).not_null())
            .col(column("action").string_len(32).not_null())
            .col(column("license_id").string_len(36))
            .col(column("subject").string_len(255).not_null())
            .col(column("details").json())
            .to_owned();
        let calls = Table::create()
            .table("calls")
            .col(column("hour").timestamp().not_null())
            .col(column("kind").string_len(16).not_null())
            .col(column("answer").string_len(16).not_null())
            .col(column("times").big_integer().not_null())
            .primary_key(Index::create().col("hour").col("kind").col("answer"))
            .to_owned();
        let usage_days = Table::create()
            .table("usage_days")
            .col(column("license_id").string_len(36).not_null())
            .col(column("hardware_id").string_len(255).not_null())
            .col(column("day").date().not_null())
            .col(column("heartbeats").big_integer().not_null())
            .col(column("cameras").big_integer().not_null())
            .col(column("users").big_integer().not_null())
            .col(column("storage_gb").big_integer().not_null())
            .primary_key(
                Index::create()
                    .col("license_id")
                    .col("hardware_id")
                    .col("day"),
            )
            .to_owned();
        for table in [audit_log, calls, usage_days] {
            manager.create_table(table).await?;
        }
        for name in ["valid_until", "exp"] {
            add_column(manager, "seats", column(name).timestamp().take()).await?;
        }
        for (table, columns) in [
            ("audit_log", &["license_id", "id"][..]),
            ("usage_days", &["day"]),
            ("licenses", &["created_at", "id"]),
            ("licenses", &["updated_at", "id"]),
            ("licenses", &["customer", "id"]),
            ("licenses", &["expires_at", "id"]),
            ("seats", &["last_seen_at", "id"]),
        ] {
            create_index(manager, table, columns).await?;
        }
        Ok(())
    }
}
