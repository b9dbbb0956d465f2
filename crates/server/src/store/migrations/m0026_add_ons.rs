//! Add-on keys, and which amendment each became.

use sea_orm_migration::prelude::*;

use super::create_index;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let add_ons = Table::create()
            .table("add_ons")
            .col(
                column("id")
                    .big_integer()
                    .not_null()
                    .auto_increment()
                    .primary_key(),
            )
            .col(column("key_hash").string_len(64).not_null())
            .col(column("key_masked").string_len(64).not_null())
            .col(column("plan").string_len(80))
            .col(column("grants").json().not_null())
            .col(column("order_reference").string_len(255))
            .col(column("note").text())
            .col(column("redeem_by").timestamp())
            .col(column("created_at").timestamp().not_null())
            .col(column("created_by").string_len(255).not_null())
            .col(column("license_id").string_len(36))
            .col(column("amendment").integer())
            .col(column("redeemed_at").timestamp())
            .col(column("redeemed_by").string_len(255))
            .col(column("refunded_at").timestamp())
            .col(column("refunded_by").string_len(255))
            .foreign_key(
                ForeignKey::create()
                    .from("add_ons", "license_id")
                    .to("licenses", "id"),
            )
            .to_owned();
        manager.create_table(add_ons).await?;
        let unique = Index::create()
            .name("add_ons_key_hash")
            .table("add_ons")
            .col("key_hash")
            .unique()
            .to_owned();
        manager.create_index(unique).await?;
        create_index(manager, "add_ons", &["license_id"]).await
    }
}
