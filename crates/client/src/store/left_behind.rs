//! The database that version 1.0.0 used by default.
//!
//! This version uses an SQLite file then. A site that upgrades without having set `DATABASE_URL`
//! would start without its license, so this is logged.

use std::time::Duration;

use license_service::database::{Database, Timeouts};
use license_service::database_url::DatabaseUrl;
use sea_orm::{ConnectionTrait as _, DatabaseBackend, Statement};

/// What version 1.0.0 connected to without `DATABASE_URL`, as its README says.
pub const DEFAULT_OF_VERSION_1: &str =
    "postgresql://vms_user:vms_secure_password@localhost:5432/vms_db";

/// How long to look.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(3);

/// How many licenses a database of the Python service holds; `None` if the database does not
/// exist or refuses access.
pub async fn licenses(url: &str) -> Option<i64> {
    let url: DatabaseUrl = url.parse().ok()?;
    let looking = async {
        let db = Database::connect(&url, Timeouts::default()).await.ok()?;
        let sql = "SELECT count(*) FROM local_license_cache";
        let count = Statement::from_string(DatabaseBackend::Postgres, sql);
        let row = db.query_one_raw(count).await.ok().flatten();
        db.close().await;
        row?.try_get_by_index(0).ok()
    };
    tokio::time::timeout(SEARCH_TIMEOUT, looking).await.ok()?
}
