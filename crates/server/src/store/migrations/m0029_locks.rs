//! Locks that only users of the database who may write to a table can hold.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let name = ColumnDef::new("name")
            .string_len(32)
            .not_null()
            .primary_key()
            .take();
        let locks = Table::create().table("locks").col(name).to_owned();
        manager.create_table(locks).await?;
        let rows = "INSERT INTO locks (name) VALUES ('customer_names'), ('tokens')";
        manager.get_connection().execute_unprepared(rows).await?;
        Ok(())
    }
}
