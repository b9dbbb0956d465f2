//! The database that version 1.0.0 used by default.
//!
//! Without `DATABASE_URL`, this version uses an SQLite file. A site that upgrades without having
//! set `DATABASE_URL` would start without its license, so this is logged.

use std::time::Duration;

use license_service::database::{Database, Timeouts};
use license_service::database_url::DatabaseUrl;
use sea_orm::{ConnectionTrait as _, DatabaseBackend, Statement};

/// The default `DATABASE_URL` of version 1.0.0, according to its README.
pub const DEFAULT_OF_VERSION_1: &str =
    "postgresql://vms_user:vms_secure_password@localhost:5432/vms_db";

/// Timeout of the check.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(3);

/// The number of licenses in a database of the Python service; `None` if the database does not
/// exist or refuses access.
pub async fn licenses(url: &str) -> Option<i64> {
    let url: DatabaseUrl = url.parse().ok()?;
    let looking = async {
        let db = Database::connect(&url, Timeouts::default()).await.ok()?;
        let sql = "SELECT pg_catalog.count(*) FROM local_license_cache";
        let count = Statement::from_string(DatabaseBackend::Postgres, sql);
        let reading = db.begin_reading_others().await.ok()?;
        let row = reading.query_one_raw(count).await.ok().flatten();
        drop(reading);
        db.close().await;
        row?.try_get_by_index(0).ok()
    };
    tokio::time::timeout(SEARCH_TIMEOUT, looking).await.ok()?
}
