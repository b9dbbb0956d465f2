//! Locks for everything that is counted against a limit.

use sea_orm_migration::prelude::*;

use super::rows_of;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let rows = rows_of(manager, &["locks"]).await?;
        let add = "INSERT INTO locks (name) VALUES ('catalogue'), ('plans'), ('sessions')";
        rows.execute_unprepared(add).await?;
        Ok(())
    }
}
