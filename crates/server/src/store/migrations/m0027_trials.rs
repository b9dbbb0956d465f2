//! Trial codes, and the trials that installations have started.

use sea_orm_migration::prelude::*;

use super::create_index;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_codes(manager).await?;
        create_trials(manager).await?;
        // The row that counts the trials without a code.
        let db = manager.get_connection();
        let row = "INSERT INTO trial_codes (id, code_masked, plan, max_a_day, created_at, \
             created_by, started, started_on_day) VALUES \
             ('00000000-0000-0000-0000-000000000000', '', '', 0, '1970-01-01 00:00:00', '', 0, 0)";
        db.execute_unprepared(row).await?;
        Ok(())
    }
}

async fn create_codes(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let column = |name: &'static str| ColumnDef::new(name);
    let codes = Table::create()
        .table("trial_codes")
        .col(column("id").string_len(36).not_null().primary_key())
        .col(column("code_hash").string_len(64))
        .col(column("code_masked").string_len(64).not_null())
        .col(column("plan").string_len(80).not_null())
        .col(column("max_starts").integer())
        .col(column("max_a_day").integer().not_null())
        .col(column("ends_at").timestamp())
        .col(column("note").text())
        .col(column("created_at").timestamp().not_null())
        .col(column("created_by").string_len(255).not_null())
        .col(column("withdrawn_at").timestamp())
        .col(column("withdrawn_by").string_len(255))
        .col(column("started").integer().not_null())
        .col(column("day").date())
        .col(column("started_on_day").integer().not_null())
        .to_owned();
    manager.create_table(codes).await?;
    let unique = Index::create()
        .name("trial_codes_code_hash")
        .table("trial_codes")
        .col("code_hash")
        .unique()
        .to_owned();
    manager.create_index(unique).await?;
    create_index(manager, "trial_codes", &["created_at"]).await
}

async fn create_trials(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let column = |name: &'static str| ColumnDef::new(name);
    let trials = Table::create()
        .table("trials")
        .col(
            column("id")
                .big_integer()
                .not_null()
                .auto_increment()
                .primary_key(),
        )
        .col(column("installation_id").string_len(255).not_null())
        .col(column("hardware_id").string_len(255).not_null())
        .col(column("code_id").string_len(36).not_null())
        .col(column("license_id").string_len(36).not_null())
        .col(column("started_at").timestamp().not_null())
        .foreign_key(
            ForeignKey::create()
                .from("trials", "code_id")
                .to("trial_codes", "id"),
        )
        .foreign_key(
            ForeignKey::create()
                .from("trials", "license_id")
                .to("licenses", "id"),
        )
        .to_owned();
    manager.create_table(trials).await?;
    let unique = Index::create()
        .name("trials_installation_id")
        .table("trials")
        .col("installation_id")
        .unique()
        .to_owned();
    manager.create_index(unique).await
}
