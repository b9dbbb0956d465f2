//! The answers to calls with an `Idempotency-Key`.

use sea_orm_migration::prelude::*;

use super::create_index;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let hash = |name| column(name).string_len(64).not_null().take();
        let keys = Table::create()
            .table("idempotency_keys")
            .col(column("id").string_len(64).not_null().primary_key())
            .col(column("of_staff").boolean().not_null())
            .col(hash("caller"))
            .col(hash("request"))
            .col(hash("headers"))
            .col(column("attempt").string_len(36).not_null())
            .col(column("noted_at").timestamp().not_null())
            .col(column("done").text())
            .col(column("status").integer())
            .col(column("answer").text())
            .to_owned();
        manager.create_table(keys).await?;
        create_index(manager, "idempotency_keys", &["caller", "noted_at"]).await?;
        create_index(manager, "idempotency_keys", &["of_staff", "noted_at"]).await
    }
}
