//! Tokens of the vendor's staff, and who made a change from where.

use sea_orm::ConnectionTrait as _;
use sea_orm_migration::prelude::*;

use super::add_column;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let admin_tokens = Table::create()
            .table("admin_tokens")
            .col(
                column("id")
                    .big_integer()
                    .not_null()
                    .auto_increment()
                    .primary_key(),
            )
            .col(column("name").string_len(64).not_null())
            .col(column("hash").string_len(64).not_null())
            .col(column("note").text())
            .col(column("created_at").timestamp().not_null())
            .col(column("created_by").string_len(255).not_null())
            .col(column("expires_at").timestamp())
            .col(column("last_used_at").timestamp())
            .col(column("revoked_at").timestamp())
            .to_owned();
        manager.create_table(admin_tokens).await?;
        let db = manager.get_connection();
        for unique in [
            "CREATE UNIQUE INDEX admin_tokens_hash ON admin_tokens (hash)",
            "CREATE UNIQUE INDEX admin_tokens_name ON admin_tokens (name) \
             WHERE revoked_at IS NULL",
        ] {
            db.execute_unprepared(unique).await?;
        }
        let source = column("source").string_len(80).take();
        add_column(manager, "audit_log", source).await?;
        let token = column("token_id").big_integer().take();
        add_column(manager, "console_sessions", token).await
    }
}
