//! Is the database reachable, with the required permissions?

use license_service::clock::Clock;
use license_service::dangling_link::DanglingLink;
use license_service::database::{Failure, Trouble};
use license_service::presence::exists;

use super::{Examiner, Finding, usage_queries};
use crate::config::Settings;
use crate::store::{Store, StoreError};

const WHAT: &str = "database";

pub(super) async fn check(
    settings: &Settings,
    clock: &dyn Clock,
    examiner: Examiner<'_>,
) -> Vec<Finding> {
    let url = settings.database();
    if let Some(link) = url.sqlite_file().and_then(DanglingLink::on) {
        return vec![Finding::error(WHAT, link.what(), DanglingLink::ADVICE)];
    }
    match url.sqlite_file().map_or(Ok(true), exists) {
        Ok(true) => {}
        Ok(false) => {
            let found = format!("{url} does not exist yet; it will be created on the first start");
            return vec![Finding::ok(WHAT, found)];
        }
        Err(unreadable) => {
            return vec![Finding::error(WHAT, unreadable.what(), unreadable.advice())];
        }
    }
    let trouble = |trouble: &Trouble| {
        let advice = trouble.advice().unwrap_or("see the service log");
        vec![Finding::error(
            WHAT,
            format!("{url}: {}", trouble.what),
            advice,
        )]
    };
    let opened;
    let store = match examiner {
        Examiner::Service(app) => {
            if let Some(why) = app.knowledge.database_trouble().await {
                return trouble(&why);
            }
            &*app.store
        }
        Examiner::Command => {
            opened = match Store::new(&url, settings.database_timeouts.clone()) {
                Ok(store) => store,
                Err(error) => return trouble(&error.trouble()),
            };
            if let Some(why) = opened.why_not().await {
                return trouble(&why);
            }
            &opened
        }
    };
    let findings = match store.within(store.missing_tables()).await {
        // The database works, but some permissions are missing.
        Err(error) if !is_of_rights(error.trouble().failure) => trouble(&error.trouble()),
        missing => {
            let mut findings = vec![
                Finding::ok(WHAT, format!("{url} answers")),
                rights(store, clock, missing).await,
            ];
            findings.extend(open_schemas(store).await);
            findings.extend(usage_queries::check(settings, &store.db()).await);
            findings
        }
    };
    if matches!(examiner, Examiner::Command) {
        store.close().await;
    }
    findings
}

fn is_of_rights(failure: Failure) -> bool {
    matches!(failure, Failure::Rights | Failure::RowPolicy)
}

/// Which schemas other users of the database can create objects in.
async fn open_schemas(store: &Store) -> Vec<Finding> {
    const WHAT: &str = "database schemas";
    match store.within(store.open_schemas()).await {
        Ok(open) => {
            let open = open.iter();
            open.map(|open| Finding::warning(WHAT, open.found(), open.advice()))
                .collect()
        }
        Err(error) => {
            let found = format!("cannot be checked: {}", error.trouble().what);
            vec![Finding::warning(WHAT, found, "see the service log")]
        }
    }
}

async fn rights(
    store: &Store,
    clock: &dyn Clock,
    missing: Result<Vec<&str>, StoreError>,
) -> Finding {
    const WHAT: &str = "database permissions";
    let refused = |doing: &str, error: &StoreError| {
        let trouble = error.trouble();
        let advice = trouble.advice().unwrap_or("see the service log");
        Finding::error(
            WHAT,
            format!("cannot {doing} the tables: {}", trouble.what),
            advice,
        )
    };
    match missing {
        Err(error) => return refused("read", &error),
        Ok(missing) if !missing.is_empty() => {
            if let Err(error) = store.within(store.check_creation()).await {
                return refused("create", &error);
            }
            return Finding::warning(
                WHAT,
                format!("missing tables: {}", missing.join(", ")),
                "the service creates them at startup if its user has the CREATE privilege; if they \
                 existed before, restore the database",
            );
        }
        Ok(_) => {}
    }
    if let Err(error) = store.within(store.check_schema()).await {
        return refused("use", &error);
    }
    // Rolled back: the check changes nothing.
    let writing = async {
        let transaction = store.begin(clock.now()).await?;
        Ok::<(), StoreError>(transaction.rollback().await?)
    };
    match store.within(writing).await {
        Ok(()) => Finding::ok(WHAT, "the four tables are readable and writable"),
        Err(error) => refused("write to", &error),
    }
}
