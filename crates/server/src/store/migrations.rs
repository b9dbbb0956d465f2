//! The tables, as they came to be. Migrations are only ever added; each has
//! sample data in `tests/migrations/` that all later ones must keep.

mod commit_proofs;
mod folded_names;

use chrono::NaiveDateTime;
use license_core::seat::{DEFAULT_MOVES, DEFAULT_MOVES_PERIOD_DAYS};
use license_core::suspicion::{FormerInstallation, installation_fingerprint};
use license_service::database::MIGRATION_TIMEOUT;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::prelude::*;

use super::{Store, StoreError};
use commit_proofs::CommitProofs;
use folded_names::FoldedNames;

/// Which migrations were applied.
pub(super) const TABLE: &str = "license_server_migrations";
/// Its name in databases created before it was renamed.
const FORMER_TABLE: &str = "seaql_migrations";

/// Changes nothing, in a row that every database of this program has.
pub(super) const UNCHANGED: &str = "UPDATE license_server_migrations SET applied_at = applied_at \
     WHERE version = 'm0001_licenses_and_seats'";

/// All migrations, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    // Other programs on the same database keep the library's table for theirs.
    fn migration_table_name() -> DynIden {
        TABLE.into_iden()
    }

    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(LicensesAndSeats),
            Box::new(Suspicions),
            Box::new(AuditAndHistory),
            Box::new(LeasesAndMoves),
            Box::new(SigningClock),
            Box::new(LostNumbers),
            Box::new(ConsoleSessions),
            Box::new(FormerInstallations),
            Box::new(RequestFiles),
            Box::new(KeyRecord),
            Box::new(RegressionTimes),
            Box::new(Coverage),
            Box::new(FoldedNames),
            Box::new(CommitProofs),
        ]
    }
}

/// Applies what is missing, all of it or nothing. Of several processes that
/// start together one does it, and the others wait.
pub(super) async fn bring_up_to_date(store: &Store) -> Result<(), StoreError> {
    // Commands open the database while the service runs: without need they
    // take no lock, and need no right to make tables.
    let db = &store.db;
    refuse_newer(db).await?;
    if table_exists(db, TABLE).await? && Migrator::get_pending_migrations(db).await?.is_empty() {
        return Ok(());
    }
    let migrating = tokio::time::timeout(MIGRATION_TIMEOUT, migrate(store));
    migrating.await.unwrap_or_else(|_| {
        let minutes = MIGRATION_TIMEOUT.as_secs() / 60;
        let why = format!("the tables were not brought up to date within {minutes} minutes");
        Err(DbErr::Custom(why).into())
    })
}

async fn migrate(store: &Store) -> Result<(), StoreError> {
    let migration = store.db.begin_migration().await?;
    let transaction = migration.connection();
    if transaction.get_database_backend() == DbBackend::Postgres {
        // Any number that no other program uses on this database.
        transaction
            .execute_unprepared("SELECT pg_advisory_xact_lock(4000731401)")
            .await?;
    }
    if !table_exists(transaction, TABLE).await? && is_former_table_ours(transaction).await? {
        let rename = format!("ALTER TABLE {FORMER_TABLE} RENAME TO {TABLE}");
        transaction.execute_unprepared(&rename).await?;
    }
    Migrator::up(transaction, None).await?;
    Ok(migration.commit().await?)
}

/// The database was not brought up to date by a newer release, whose tables this one does
/// not know.
async fn refuse_newer(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    if !table_exists(db, TABLE).await? {
        return Ok(());
    }
    let applied = versions(db, TABLE).await?;
    let ours = Migrator::migrations();
    let is_ours = |version: &String| ours.iter().any(|it| it.name() == version);
    let unknown = applied.into_iter().find(|version| !is_ours(version));
    unknown.map_or(Ok(()), |version| {
        Err(DbErr::Custom(format!(
            "the database was made by a newer License Server ({version}): run that version, or restore the backup from before the upgrade"
        )))
    })
}

async fn versions(db: &impl ConnectionTrait, table: &str) -> Result<Vec<String>, DbErr> {
    let select = format!("SELECT version FROM {table}");
    let statement = Statement::from_string(db.get_database_backend(), select);
    let rows = db.query_all_raw(statement).await?;
    rows.iter().map(|row| row.try_get("", "version")).collect()
}

/// Whether the library's table is there, and has our migrations and no others.
async fn is_former_table_ours(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    if !table_exists(db, FORMER_TABLE).await? {
        return Ok(false);
    }
    let applied = versions(db, FORMER_TABLE).await?;
    let ours = Migrator::migrations();
    let is_ours = |version: &String| ours.iter().any(|it| it.name() == version);
    Ok(!applied.is_empty() && applied.iter().all(is_ours))
}

async fn table_exists(db: &impl ConnectionTrait, table: &str) -> Result<bool, DbErr> {
    let sql = match db.get_database_backend() {
        DbBackend::Postgres => format!("SELECT 1 WHERE to_regclass('{table}') IS NOT NULL"),
        _ => format!("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '{table}'"),
    };
    let statement = Statement::from_string(db.get_database_backend(), sql);
    Ok(db.query_one_raw(statement).await?.is_some())
}

/// Whether the database has the tables of any version.
pub(super) async fn are_there_any(store: &Store) -> Result<bool, StoreError> {
    let db = &store.db;
    Ok(table_exists(db, TABLE).await? || is_former_table_ours(db).await?)
}

struct LicensesAndSeats;

impl MigrationName for LicensesAndSeats {
    fn name(&self) -> &'static str {
        "m0001_licenses_and_seats"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for LicensesAndSeats {
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

struct Suspicions;

impl MigrationName for Suspicions {
    fn name(&self) -> &'static str {
        "m0002_suspicions"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Suspicions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        // SQLite adds one column at a time.
        for column in [
            column("answered_seq").big_integer().not_null().default(0),
            column("behind_seq").big_integer(),
            column("behind").integer().not_null().default(0),
            column("former_installation_id").string_len(255),
        ] {
            let add = Table::alter().table("seats").add_column(column).to_owned();
            manager.alter_table(add).await?;
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

struct AuditAndHistory;

impl MigrationName for AuditAndHistory {
    fn name(&self) -> &'static str {
        "m0003_audit_and_history"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AuditAndHistory {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let audit_log = Table::create()
            .table("audit_log")
            .col(
                column("id")
                    .integer()
                    .not_null()
                    .auto_increment()
                    .primary_key(),
            )
            .col(column("at").timestamp().not_null())
            .col(column("actor").string_len(255).not_null())
            .col(column("action").string_len(32).not_null())
            .col(column("license_id").string_len(36))
            .col(column("subject").string_len(255).not_null())
            .col(column("details").json())
            .to_owned();
        let calls = Table::create()
            .table("calls")
            .col(column("hour").timestamp().not_null())
            .col(column("kind").string_len(16).not_null())
            .col(column("answer").string_len(16).not_null())
            .col(column("times").big_integer().not_null())
            .primary_key(Index::create().col("hour").col("kind").col("answer"))
            .to_owned();
        let usage_days = Table::create()
            .table("usage_days")
            .col(column("license_id").string_len(36).not_null())
            .col(column("hardware_id").string_len(255).not_null())
            .col(column("day").date().not_null())
            .col(column("heartbeats").big_integer().not_null())
            .col(column("cameras").big_integer().not_null())
            .col(column("users").big_integer().not_null())
            .col(column("storage_gb").big_integer().not_null())
            .primary_key(
                Index::create()
                    .col("license_id")
                    .col("hardware_id")
                    .col("day"),
            )
            .to_owned();
        for table in [audit_log, calls, usage_days] {
            manager.create_table(table).await?;
        }
        for column in [column("valid_until").timestamp(), column("exp").timestamp()] {
            let add = Table::alter().table("seats").add_column(column).to_owned();
            manager.alter_table(add).await?;
        }
        for (table, columns) in [
            ("audit_log", &["license_id", "id"][..]),
            ("usage_days", &["day"]),
            ("licenses", &["created_at", "id"]),
            ("licenses", &["updated_at", "id"]),
            ("licenses", &["customer", "id"]),
            ("licenses", &["expires_at", "id"]),
            ("seats", &["last_seen_at", "id"]),
        ] {
            let mut index = Index::create();
            index
                .name(format!("{table}_{}", columns.join("_")))
                .table(table);
            for column in columns {
                index.col(*column);
            }
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

struct LeasesAndMoves;

impl MigrationName for LeasesAndMoves {
    fn name(&self) -> &'static str {
        "m0004_leases_and_moves"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for LeasesAndMoves {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let (moves, days) = (DEFAULT_MOVES, DEFAULT_MOVES_PERIOD_DAYS);
        for (table, column) in [
            ("seats", column("signed_until").timestamp()),
            ("seats", column("overlap").string_len(16)),
            ("seats", column("last_activated_at").timestamp()),
            (
                "seats",
                column("says_seq").boolean().not_null().default(false),
            ),
            (
                "seats",
                column("acknowledged_seq")
                    .big_integer()
                    .not_null()
                    .default(0),
            ),
            (
                "seats",
                column("regressions").integer().not_null().default(0),
            ),
            ("seats", column("regressed_seq").big_integer()),
            ("seats", column("regressed_since").timestamp()),
            (
                "licenses",
                column("moves").integer().not_null().default(moves),
            ),
            (
                "licenses",
                column("moves_period_days")
                    .integer()
                    .not_null()
                    .default(days),
            ),
        ] {
            let add = Table::alter().table(table).add_column(column).to_owned();
            manager.alter_table(add).await?;
        }
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
        manager.create_table(site_entries).await?;
        for (table, columns) in [
            ("audit_log", &["license_id", "subject", "at"][..]),
            ("seat_moves", &["license_id", "at"]),
            ("seats", &["license_id", "id"]),
            ("site_entries", &["day", "license_id"]),
            ("suspicions", &["last_seen_at", "id"]),
        ] {
            let mut index = Index::create();
            index
                .name(format!("{table}_{}", columns.join("_")))
                .table(table);
            for column in columns {
                index.col(*column);
            }
            manager.create_index(index).await?;
        }
        let db = manager.get_connection();
        db.execute_unprepared(
            "CREATE INDEX seats_freed ON seats (license_id, signed_until) WHERE freed_at IS NOT NULL",
        )
        .await?;
        // Before this, the end of a heartbeat's lease was not stored: with the default
        // LEASE_HOURS and GRACE_HOURS it was signed for 96 hours at most after the machine
        // called last. docs/operations.md names what follows from other values.
        let (bound, greatest) = match manager.get_database_backend() {
            DbBackend::Postgres => ("last_seen_at + INTERVAL '96 hours'", "GREATEST"),
            _ => ("datetime(last_seen_at, '+96 hours')", "MAX"),
        };
        db.execute_unprepared(&format!(
            "UPDATE seats SET signed_until = {greatest}(COALESCE(exp, {bound}), {bound})"
        ))
        .await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            // SQLite's ids have 64 bits anyway.
            for table in ["audit_log", "seats", "suspicions"] {
                db.execute_unprepared(&format!(
                    "ALTER TABLE {table} ALTER COLUMN id TYPE BIGINT; \
                     ALTER SEQUENCE {table}_id_seq AS BIGINT"
                ))
                .await?;
            }
        }
        Ok(())
    }
}

struct SigningClock;

impl MigrationName for SigningClock {
    fn name(&self) -> &'static str {
        "m0005_signing_clock"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for SigningClock {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let signing_clock = Table::create()
            .table("signing_clock")
            .col(column("id").big_integer().not_null().primary_key())
            .col(column("recorded_at").timestamp().not_null())
            .col(column("accepted_at").timestamp())
            .to_owned();
        manager.create_table(signing_clock).await?;
        // A machine is seen when something is signed for it.
        let newest = "INSERT INTO signing_clock (id, recorded_at) SELECT 1, newest FROM \
                      (SELECT MAX(last_seen_at) AS newest FROM seats) AS seen \
                      WHERE newest IS NOT NULL";
        let db = manager.get_connection();
        db.execute_unprepared(newest).await?;
        Ok(())
    }
}

struct LostNumbers;

impl MigrationName for LostNumbers {
    fn name(&self) -> &'static str {
        "m0006_lost_numbers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for LostNumbers {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let lost_numbers = Table::create()
            .table("lost_numbers")
            .col(
                column("id")
                    .big_integer()
                    .not_null()
                    .auto_increment()
                    .primary_key(),
            )
            .col(column("after_number").big_integer().not_null())
            .col(column("until_number").big_integer().not_null())
            .to_owned();
        let by_end = Index::create()
            .name("lost_numbers_until_number")
            .table("lost_numbers")
            .col("until_number")
            .to_owned();
        manager.create_table(lost_numbers).await?;
        manager.create_index(by_end).await
    }
}

struct ConsoleSessions;

impl MigrationName for ConsoleSessions {
    fn name(&self) -> &'static str {
        "m0007_console_sessions"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for ConsoleSessions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let console_sessions = Table::create()
            .table("console_sessions")
            .col(column("id").string_len(64).not_null().primary_key())
            .col(column("begun_at").timestamp().not_null())
            .col(column("used_at").timestamp().not_null())
            .to_owned();
        manager.create_table(console_sessions).await
    }
}

struct FormerInstallations;

impl MigrationName for FormerInstallations {
    fn name(&self) -> &'static str {
        "m0008_former_installations"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for FormerInstallations {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let alter = |column: &mut ColumnDef| {
            let mut table = Table::alter();
            table.table("seats").add_column(column).to_owned()
        };
        let mut former = ColumnDef::new("former_installations");
        manager.alter_table(alter(former.json())).await?;
        // One was remembered, and not when it was replaced: not before the seat was taken.
        let db = manager.get_connection();
        let backend = manager.get_database_backend();
        let known = "SELECT id, former_installation_id, activated_at FROM seats \
                     WHERE former_installation_id IS NOT NULL";
        for row in db
            .query_all_raw(Statement::from_string(backend, known))
            .await?
        {
            let id: i64 = row.try_get("", "id")?;
            let installation: String = row.try_get("", "former_installation_id")?;
            let activated_at: NaiveDateTime = row.try_get("", "activated_at")?;
            let former = vec![FormerInstallation {
                fingerprint: installation_fingerprint(&installation),
                replaced_at: activated_at.and_utc(),
            }];
            let former =
                serde_json::to_value(former).map_err(|error| DbErr::Json(error.to_string()))?;
            let update = match backend {
                DbBackend::Postgres => "UPDATE seats SET former_installations = $1 WHERE id = $2",
                _ => "UPDATE seats SET former_installations = ? WHERE id = ?",
            };
            let values = [former.into(), id.into()];
            db.execute_raw(Statement::from_sql_and_values(backend, update, values))
                .await?;
        }
        let mut table = Table::alter();
        let table = table.table("seats").drop_column("former_installation_id");
        manager.alter_table(table.to_owned()).await
    }
}

struct RequestFiles;

impl MigrationName for RequestFiles {
    fn name(&self) -> &'static str {
        "m0009_request_files"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for RequestFiles {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        for mut added in [
            column("behind_since").timestamp().take(),
            column("lost_claim_seq").big_integer().take(),
            column("request_files").json().take(),
        ] {
            let mut table = Table::alter();
            let table = table.table("seats").add_column(&mut added);
            manager.alter_table(table.to_owned()).await?;
        }
        Ok(())
    }
}

struct KeyRecord;

impl MigrationName for KeyRecord {
    fn name(&self) -> &'static str {
        "m0010_key_record"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for KeyRecord {
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

struct RegressionTimes;

impl MigrationName for RegressionTimes {
    fn name(&self) -> &'static str {
        "m0011_regression_times"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for RegressionTimes {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut times = ColumnDef::new("regressed_at");
        let mut table = Table::alter();
        let table = table.table("seats").add_column(times.json());
        manager.alter_table(table.to_owned()).await?;
        // Of several, only the time of the first was recorded.
        let times = match manager.get_database_backend() {
            DbBackend::Postgres => {
                "json_build_array(to_char(regressed_since, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))"
            }
            _ => "json_array(strftime('%Y-%m-%dT%H:%M:%SZ', regressed_since))",
        };
        let keep = format!(
            "UPDATE seats SET regressed_at = {times} \
             WHERE regressions > 0 AND regressed_since IS NOT NULL"
        );
        let db = manager.get_connection();
        db.execute_unprepared(&keep).await?;
        for column in ["regressions", "regressed_since"] {
            let mut table = Table::alter();
            let table = table.table("seats").drop_column(column);
            manager.alter_table(table.to_owned()).await?;
        }
        Ok(())
    }
}

struct Coverage;

impl MigrationName for Coverage {
    fn name(&self) -> &'static str {
        "m0012_coverage"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Coverage {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let coverage = Table::create()
            .table("coverage")
            .col(column("id").big_integer().not_null().primary_key())
            .col(column("version").big_integer().not_null())
            .col(column("covered_until").timestamp().not_null())
            .col(column("is_closed").boolean().not_null())
            .to_owned();
        manager.create_table(coverage).await?;
        // Until then a server has run.
        let recorded = "INSERT INTO coverage (id, version, covered_until, is_closed) \
                        SELECT 1, 1, recorded_at, FALSE FROM signing_clock";
        let db = manager.get_connection();
        db.execute_unprepared(recorded).await?;
        Ok(())
    }
}
