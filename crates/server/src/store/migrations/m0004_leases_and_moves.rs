//! Until when machines may run, and the moves that were spent.

use license_core::seat::{DEFAULT_MOVES, DEFAULT_MOVES_PERIOD_DAYS};
use sea_orm::{ConnectionTrait as _, DbBackend};
use sea_orm_migration::prelude::*;

use super::{add_column, create_index, rows_of};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        add_columns(manager).await?;
        create_tables(manager).await?;
        for (table, columns) in [
            ("audit_log", &["license_id", "subject", "at"][..]),
            ("seat_moves", &["license_id", "at"]),
            ("seats", &["license_id", "id"]),
            ("site_entries", &["day", "license_id"]),
            ("suspicions", &["last_seen_at", "id"]),
        ] {
            create_index(manager, table, columns).await?;
        }
        let freed = "CREATE INDEX seats_freed ON seats (license_id, signed_until) \
                     WHERE freed_at IS NOT NULL";
        manager.get_connection().execute_unprepared(freed).await?;
        bound_leases(manager).await?;
        widen_ids(manager).await
    }
}

async fn add_columns(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let column = |name: &'static str| ColumnDef::new(name);
    let flag = |name| column(name).boolean().not_null().default(false).take();
    let number = |name| column(name).big_integer().not_null().default(0).take();
    let count = |name, default: u32| column(name).integer().not_null().default(default).take();
    for (table, column) in [
        ("seats", column("signed_until").timestamp().take()),
        ("seats", column("overlap").string_len(16).take()),
        ("seats", column("last_activated_at").timestamp().take()),
        ("seats", flag("says_seq")),
        ("seats", number("acknowledged_seq")),
        ("seats", count("regressions", 0)),
        ("seats", column("regressed_seq").big_integer().take()),
        ("seats", column("regressed_since").timestamp().take()),
        ("licenses", count("moves", DEFAULT_MOVES)),
        (
            "licenses",
            count("moves_period_days", DEFAULT_MOVES_PERIOD_DAYS),
        ),
    ] {
        add_column(manager, table, column).await?;
    }
    Ok(())
}

async fn create_tables(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let column = |name: &'static str| ColumnDef::new(name);
    let seat_moves = Table::create()
        .table("seat_moves")
        .col(
            column("id")
                .big_integer()
                .not_null()
                .auto_increment()
                .primary_key(),
        )
        .col(column("license_id").string_len(36).not_null())
        .col(column("at").timestamp().not_null())
        .col(column("from_hardware_id").string_len(255).not_null())
        .col(column("to_hardware_id").string_len(255).not_null())
        .col(column("overlap_until").timestamp().not_null())
        .foreign_key(
            ForeignKey::create()
                .from("seat_moves", "license_id")
                .to("licenses", "id"),
        )
        .to_owned();
    let site_entries = Table::create()
        .table("site_entries")
        .col(column("license_id").string_len(36).not_null())
        .col(column("day").date().not_null())
        .col(column("written").big_integer().not_null())
        .col(column("counted").big_integer().not_null())
        .primary_key(Index::create().col("license_id").col("day"))
        .to_owned();
    manager.create_table(seat_moves).await?;
    manager.create_table(site_entries).await
}

/// Before this, the end of a heartbeat's lease was not stored: with the default `LEASE_HOURS` and
/// `GRACE_HOURS` it was signed for 96 hours at most after the machine called last.
/// docs/operations.md describes the consequences of other values.
async fn bound_leases(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let (bound, greatest) = match manager.get_database_backend() {
        DbBackend::Postgres => ("last_seen_at + INTERVAL '96 hours'", "GREATEST"),
        _ => ("datetime(last_seen_at, '+96 hours')", "MAX"),
    };
    let update =
        format!("UPDATE seats SET signed_until = {greatest}(COALESCE(exp, {bound}), {bound})");
    let rows = rows_of(manager, &["seats"]).await?;
    rows.execute_unprepared(&update).await?;
    Ok(())
}

/// Widens ascending ids to 64 bits, which they always have on SQLite.
async fn widen_ids(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    if manager.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    for table in ["audit_log", "seats", "suspicions"] {
        let widen = format!(
            "ALTER TABLE {table} ALTER COLUMN id TYPE BIGINT; \
             ALTER SEQUENCE {table}_id_seq AS BIGINT"
        );
        manager.get_connection().execute_unprepared(&widen).await?;
    }
    Ok(())
}
