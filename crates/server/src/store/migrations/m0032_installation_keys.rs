//! The installation keys of seats, and which licenses require a proof of them.

use sea_orm_migration::prelude::*;

use super::add_column;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        for column in [
            column("bound_key").json().take(),
            column("former_key").json().take(),
            column("document_hash").string_len(43).take(),
            column("activated_seq")
                .big_integer()
                .not_null()
                .default(0)
                .take(),
        ] {
            add_column(manager, "seats", column).await?;
        }
        let requires_proof = column("requires_proof")
            .boolean()
            .not_null()
            .default(false)
            .take();
        add_column(manager, "licenses", requires_proof).await
    }
}
