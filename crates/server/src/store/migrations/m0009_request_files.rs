//! The request files of each seat.

use sea_orm_migration::prelude::*;

use super::add_column;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        for added in [
            column("behind_since").timestamp().take(),
            column("lost_claim_seq").big_integer().take(),
            column("request_files").json().take(),
        ] {
            add_column(manager, "seats", added).await?;
        }
        Ok(())
    }
}
