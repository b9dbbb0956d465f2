//! The sessions of the console.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let console_sessions = Table::create()
            .table("console_sessions")
            .col(column("id").string_len(64).not_null().primary_key())
            .col(column("begun_at").timestamp().not_null())
            .col(column("used_at").timestamp().not_null())
            .to_owned();
        manager.create_table(console_sessions).await
    }
}
