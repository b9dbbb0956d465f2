//! Adds the proofs of what each process has committed.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let commit_proofs = Table::create()
            .table("commit_proofs")
            .col(column("id").big_integer().not_null().primary_key())
            .col(column("token").big_integer().not_null())
            .col(column("number").big_integer().not_null())
            .to_owned();
        manager.create_table(commit_proofs).await
    }
}
