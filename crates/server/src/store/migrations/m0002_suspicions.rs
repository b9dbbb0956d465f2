//! Suspicions for staff to review, and the data on which they are based.

use sea_orm_migration::prelude::*;

use super::add_column;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        for column in [
            column("answered_seq").big_integer().not_null().default(0),
            column("behind_seq").big_integer(),
            column("behind").integer().not_null().default(0),
            column("former_installation_id").string_len(255),
        ] {
            add_column(manager, "seats", column.take()).await?;
        }
        let suspicions = Table::create()
            .table("suspicions")
            .col(
                column("id")
                    .integer()
                    .not_null()
                    .auto_increment()
                    .primary_key(),
            )
            .col(column("license_id").string_len(36).not_null())
            .col(column("hardware_id").string_len(255).not_null())
            .col(column("kind").string_len(32).not_null())
            .col(column("first_seen_at").timestamp().not_null())
            .col(column("last_seen_at").timestamp().not_null())
            .col(column("times").big_integer().not_null())
            .foreign_key(
                ForeignKey::create()
                    .from("suspicions", "license_id")
                    .to("licenses", "id"),
            )
            .to_owned();
        let once = Index::create()
            .name("suspicions_license_id_hardware_id_kind")
            .table("suspicions")
            .col("license_id")
            .col("hardware_id")
            .col("kind")
            .unique()
            .to_owned();
        manager.create_table(suspicions).await?;
        manager.create_index(once).await
    }
}
