//! The licenses, and the seats that machines hold.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let licenses = Table::create()
            .table("licenses")
            .col(column("id").string_len(36).not_null().primary_key())
            .col(column("license_key").string_len(64).not_null().unique_key())
            .col(column("customer").string_len(255).not_null())
            .col(column("tier").string_len(64).not_null())
            .col(column("features").json().not_null())
            .col(column("max_cameras").big_integer().not_null())
            .col(column("max_users").big_integer().not_null())
            .col(column("max_storage_gb").big_integer().not_null())
            .col(column("seats").integer().not_null())
            .col(column("status").string_len(16).not_null())
            .col(column("status_message").text())
            .col(column("expires_at").timestamp())
            .col(column("created_at").timestamp().not_null())
            .col(column("updated_at").timestamp().not_null())
            .to_owned();
        let seats = Table::create()
            .table("seats")
            .col(
                column("id")
                    .integer()
                    .not_null()
                    .auto_increment()
                    .primary_key(),
            )
            .col(column("license_id").string_len(36).not_null())
            .col(column("hardware_id").string_len(255).not_null())
            .col(column("installation_id").string_len(255).not_null())
            .col(column("installation_name").string_len(255).not_null())
            .col(column("installation_version").string_len(255).not_null())
            .col(column("activated_at").timestamp().not_null())
            .col(column("last_seen_at").timestamp().not_null())
            .col(column("freed_at").timestamp())
            .col(column("last_seq").big_integer().not_null())
            .col(column("usage").json())
            .col(column("system_info").json())
            .foreign_key(
                ForeignKey::create()
                    .from("seats", "license_id")
                    .to("licenses", "id"),
            )
            .to_owned();
        let one_seat_a_machine = Index::create()
            .name("seats_license_id_hardware_id")
            .table("seats")
            .col("license_id")
            .col("hardware_id")
            .unique()
            .to_owned();
        manager.create_table(licenses).await?;
        manager.create_table(seats).await?;
        manager.create_index(one_seat_a_machine).await
    }
}
