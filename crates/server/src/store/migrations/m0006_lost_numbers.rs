//! Sequence numbers that a restored database may have lost.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let lost_numbers = Table::create()
            .table("lost_numbers")
            .col(
                column("id")
                    .big_integer()
                    .not_null()
                    .auto_increment()
                    .primary_key(),
            )
            .col(column("after_number").big_integer().not_null())
            .col(column("until_number").big_integer().not_null())
            .to_owned();
        let by_end = Index::create()
            .name("lost_numbers_until_number")
            .table("lost_numbers")
            .col("until_number")
            .to_owned();
        manager.create_table(lost_numbers).await?;
        manager.create_index(by_end).await
    }
}
