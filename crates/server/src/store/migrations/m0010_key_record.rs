//! The newest set of signing keys.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let key_record = Table::create()
            .table("key_record")
            .col(column("id").big_integer().not_null().primary_key())
            .col(column("version").big_integer().not_null())
            .col(column("fingerprint").string_len(64).not_null())
            .col(column("revoked").json().not_null())
            .to_owned();
        manager.create_table(key_record).await
    }
}
