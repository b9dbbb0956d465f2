//! The history of the tables: one file per migration, named after the migration. Migrations are
//! only ever added; each has sample data in `tests/migrations/` that all later ones must keep.

mod indexes;
mod m0001_licenses_and_seats;
mod m0002_suspicions;
mod m0003_audit_and_history;
mod m0004_leases_and_moves;
mod m0005_signing_clock;
mod m0006_lost_numbers;
mod m0007_console_sessions;
mod m0008_former_installations;
mod m0009_request_files;
mod m0010_key_record;
mod m0011_regression_times;
mod m0012_coverage;
mod m0013_folded_names;
mod m0014_commit_proofs;
mod m0015_amendments;
mod m0016_plans;
mod m0017_admin_tokens;
mod m0018_customers;
mod m0019_judged_licenses;
mod m0020_excused_amendments;
mod m0021_reference_keys;
mod m0022_license_status;
mod m0023_unknown_usage;
mod m0024_bulk_lines;
mod m0025_first_activation;
mod m0026_add_ons;
mod m0027_trials;
mod m0028_trial_secrets;
mod m0029_locks;
mod m0030_more_locks;
mod m0031_idempotency_keys;
mod m0032_installation_keys;

use license_service::database::{CheckedRow, Database, MIGRATION_TIMEOUT, MigratedRows, Migration};
use sea_orm::{ConnectionTrait, Statement};
use sea_orm_migration::prelude::*;

use super::{Store, StoreError, expected_tables};
pub use indexes::INDEXES;

/// The table of applied migrations.
pub(super) const TABLE: &str = "license_server_migrations";
/// Its name in databases created before it was renamed.
const FORMER_TABLE: &str = "seaql_migrations";
/// Any number that no other program uses on this database.
const LOCK: u32 = 4_000_731_401;
/// The tables that record migrations.
pub(super) const TABLES: [&str; 2] = [TABLE, FORMER_TABLE];

/// A row that every database of this program has.
pub(super) const CHECKED_ROW: CheckedRow = CheckedRow {
    table: TABLE,
    row: "version = 'm0001_licenses_and_seats'",
    unchanged: "applied_at = applied_at",
    changed: "applied_at = applied_at + 1",
};

/// All migrations, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    // Other programs on the same database use the library's table for their own migrations.
    fn migration_table_name() -> DynIden {
        TABLE.into_iden()
    }

    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_licenses_and_seats::Migration),
            Box::new(m0002_suspicions::Migration),
            Box::new(m0003_audit_and_history::Migration),
            Box::new(m0004_leases_and_moves::Migration),
            Box::new(m0005_signing_clock::Migration),
            Box::new(m0006_lost_numbers::Migration),
            Box::new(m0007_console_sessions::Migration),
            Box::new(m0008_former_installations::Migration),
            Box::new(m0009_request_files::Migration),
            Box::new(m0010_key_record::Migration),
            Box::new(m0011_regression_times::Migration),
            Box::new(m0012_coverage::Migration),
            Box::new(m0013_folded_names::Migration),
            Box::new(m0014_commit_proofs::Migration),
            Box::new(m0015_amendments::Migration),
            Box::new(m0016_plans::Migration),
            Box::new(m0017_admin_tokens::Migration),
            Box::new(m0018_customers::Migration),
            Box::new(m0019_judged_licenses::Migration),
            Box::new(m0020_excused_amendments::Migration),
            Box::new(m0021_reference_keys::Migration),
            Box::new(m0022_license_status::Migration),
            Box::new(m0023_unknown_usage::Migration),
            Box::new(m0024_bulk_lines::Migration),
            Box::new(m0025_first_activation::Migration),
            Box::new(m0026_add_ons::Migration),
            Box::new(m0027_trials::Migration),
            Box::new(m0028_trial_secrets::Migration),
            Box::new(m0029_locks::Migration),
            Box::new(m0030_more_locks::Migration),
            Box::new(m0031_idempotency_keys::Migration),
            Box::new(m0032_installation_keys::Migration),
        ]
    }
}

/// Applies the missing migrations, all of them or none. If several processes start together, one
/// does it, and the others wait.
pub(super) async fn bring_up_to_date(store: &Store) -> Result<(), StoreError> {
    // Commands open the database while the service is running: if nothing is missing, they take no
    // lock, and need no privilege to create tables.
    if is_up_to_date(&store.db).await? {
        return Ok(());
    }
    let migrating = tokio::time::timeout(MIGRATION_TIMEOUT, migrate(store));
    let migrated = migrating.await;
    // Another process may have done it meanwhile.
    if !matches!(migrated, Ok(Ok(()))) && is_up_to_date(&store.db).await.unwrap_or(false) {
        return Ok(());
    }
    migrated.unwrap_or_else(|_| {
        let minutes = MIGRATION_TIMEOUT.as_secs() / 60;
        let why = format!("the database migration did not finish within {minutes} minutes");
        Err(DbErr::Custom(why).into())
    })
}

async fn migrate(store: &Store) -> Result<(), StoreError> {
    let migration = store.db.begin_migration(LOCK).await?;
    let transaction = migration.connection();
    if !migration.has_table(TABLE).await?
        && migration.has_table(FORMER_TABLE).await?
        && is_former_table_ours(transaction).await?
    {
        let rename = format!("ALTER TABLE {FORMER_TABLE} RENAME TO {TABLE}");
        transaction.execute_unprepared(&rename).await?;
    } else if !migration.has_table(TABLE).await? {
        refuse_tables_of_others(&migration).await?;
    }
    Migrator::up(transaction, None).await?;
    Ok(migration.commit().await?)
}

/// Before the first migration, no table of this program may exist.
async fn refuse_tables_of_others(migration: &Migration) -> Result<(), StoreError> {
    let mut found = Vec::new();
    for table in expected_tables() {
        if migration.has_table(table.name()).await? {
            found.push(table.name());
        }
    }
    match found.is_empty() {
        true => Ok(()),
        false => Err(StoreError::OthersTables(found.join(", "))),
    }
}

/// Whether all migrations were applied.
///
/// # Errors
/// If the database was migrated by a newer release, whose tables this one does not know.
async fn is_up_to_date(db: &Database) -> Result<bool, DbErr> {
    if !db.has_table(TABLE).await? {
        return Ok(false);
    }
    let reading = db.begin_reading().await?;
    let applied = versions(&reading, TABLE).await?;
    reading.rollback().await?;
    let ours = Migrator::migrations();
    let is_ours = |version: &String| ours.iter().any(|it| it.name() == version);
    if let Some(version) = applied.iter().find(|version| !is_ours(version)) {
        return Err(DbErr::Custom(format!(
            "the database was created or migrated by a newer License Server ({version}): run that \
             version, or restore the backup from before the upgrade"
        )));
    }
    Ok(ours
        .iter()
        .all(|it| applied.iter().any(|version| version == it.name())))
}

/// Versions in a table of migrations: all of them, or more than this program has.
async fn versions(db: &impl ConnectionTrait, table: &str) -> Result<Vec<String>, DbErr> {
    let most = Migrator::migrations().len() + 1;
    let select = format!("SELECT version FROM {table} LIMIT {most}");
    let statement = Statement::from_string(db.get_database_backend(), select);
    let rows = db.query_all_raw(statement).await?;
    rows.iter().map(|row| row.try_get("", "version")).collect()
}

/// Whether the library's table contains our migrations and no others.
async fn is_former_table_ours(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    let applied = versions(db, FORMER_TABLE).await?;
    let ours = Migrator::migrations();
    let is_ours = |version: &String| ours.iter().any(|it| it.name() == version);
    Ok(!applied.is_empty() && applied.iter().all(is_ours))
}

/// Whether the database has the tables of any version.
pub(super) async fn are_there_any(store: &Store) -> Result<bool, StoreError> {
    let db = &store.db;
    if db.has_table(TABLE).await? {
        return Ok(true);
    }
    if !db.has_table(FORMER_TABLE).await? {
        return Ok(false);
    }
    let reading = db.begin_reading().await?;
    Ok(is_former_table_ours(&reading).await?)
}

/// Reads and changes rows of these tables.
async fn rows_of<'a>(
    manager: &'a SchemaManager<'_>,
    tables: &[&'static str],
) -> Result<MigratedRows<'a, SchemaManagerConnection<'a>>, DbErr> {
    MigratedRows::of(manager.get_connection(), tables).await
}

/// Adds a column to a table. SQLite adds one at a time.
async fn add_column(
    manager: &SchemaManager<'_>,
    table: &'static str,
    column: ColumnDef,
) -> Result<(), DbErr> {
    let add = Table::alter().table(table).add_column(column).to_owned();
    manager.alter_table(add).await
}

/// Creates an index that is named for its table and columns.
async fn create_index(
    manager: &SchemaManager<'_>,
    table: &'static str,
    columns: &[&'static str],
) -> Result<(), DbErr> {
    let mut index = Index::create();
    index
        .name(format!("{table}_{}", columns.join("_")))
        .table(table);
    for column in columns {
        index.col(*column);
    }
    manager.create_index(index).await
}
