//! Is the database reachable, with the required permissions?

use license_service::clock::Clock;
use sea_orm::{ConnectionTrait as _, Statement};

use super::{Examiner, Finding};
use crate::config::Settings;
use crate::licensing::readiness::database_trouble;
use crate::store::{Store, StoreError};

const WHAT: &str = "database";
const TABLES: [&str; 4] = [
    "system_config",
    "local_license_cache",
    "local_license_validation_attempts",
    "local_feature_flags",
];

pub(super) async fn check(
    settings: &Settings,
    clock: &dyn Clock,
    examiner: Examiner<'_>,
) -> Vec<Finding> {
    let url = settings.database();
    if let Some(file) = url.sqlite_file()
        && !file.exists()
    {
        let found = format!("{url} does not exist yet; it is created at the first start");
        return vec![Finding::ok(WHAT, found)];
    }
    let advice =
        "check DATABASE_URL, that the server is running, and that it accepts this machine and user";
    if let Examiner::Service(app) = examiner {
        return match database_trouble(app).await {
            Some(why) => vec![Finding::error(WHAT, format!("{url}: {why}"), advice)],
            None => vec![
                Finding::ok(WHAT, format!("{url} answers")),
                rights(&app.store, clock).await,
            ],
        };
    }
    let store = match Store::new(&url, settings.database_timeouts.clone()) {
        Ok(store) => store,
        Err(error) => return vec![Finding::error(WHAT, format!("{url}: {error}"), advice)],
    };
    if let Some(why) = store.why_not().await {
        return vec![Finding::error(WHAT, format!("{url}: {why}"), advice)];
    }
    let findings = vec![
        Finding::ok(WHAT, format!("{url} answers")),
        rights(&store, clock).await,
    ];
    store.close().await;
    findings
}

async fn rights(store: &Store, clock: &dyn Clock) -> Finding {
    const WHAT: &str = "database rights";
    let db = store.db();
    let mut missing = Vec::new();
    for table in TABLES {
        let sql = format!("SELECT 1 FROM {table} LIMIT 1");
        let probe = Statement::from_string(db.get_database_backend(), sql);
        let probing = async { Ok(db.query_one_raw(probe).await?) };
        if store.within(probing).await.is_err() {
            missing.push(table);
        }
    }
    if !missing.is_empty() {
        return Finding::warning(
            WHAT,
            format!("missing or unreadable tables: {}", missing.join(", ")),
            "the service creates them at startup if the user has CREATE; otherwise create them, or GRANT SELECT, INSERT, UPDATE, DELETE",
        );
    }
    // Rolled back: the check changes nothing.
    let writing = async {
        let transaction = store.begin(clock.now()).await?;
        Ok::<(), StoreError>(transaction.rollback().await?)
    };
    match store.within(writing).await {
        Ok(()) => Finding::ok(WHAT, "the four tables are readable and writable"),
        Err(error) => Finding::error(
            WHAT,
            format!("cannot write to the tables: {error}"),
            "GRANT SELECT, INSERT, UPDATE, DELETE on the four tables and USAGE on their sequences; a standby server is read-only",
        ),
    }
}
