//! The secrets with which sites prove that they started a trial.

use sea_orm_migration::prelude::*;

use super::add_column;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let hash = ColumnDef::new("secret_hash").string_len(64).take();
        add_column(manager, "trials", hash).await
    }
}
