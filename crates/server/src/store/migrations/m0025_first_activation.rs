//! How long licenses last from their first activation on.

use sea_orm_migration::prelude::*;

use super::add_column;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let lasts = ColumnDef::new("lasts_from_activation")
            .string_len(32)
            .take();
        add_column(manager, "licenses", lasts).await
    }
}
