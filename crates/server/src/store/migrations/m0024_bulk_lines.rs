//! The lines of files whose changes were made.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let bulk_lines = Table::create()
            .table("bulk_lines")
            .col(column("id").string_len(64).not_null().primary_key())
            .col(column("license_id").string_len(36).not_null())
            .col(column("amendment").integer().not_null())
            .col(column("done_at").timestamp().not_null())
            .to_owned();
        manager.create_table(bulk_lines).await
    }
}
