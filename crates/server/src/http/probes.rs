//! Liveness and readiness probes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use license_service::database::Failure;
use license_service::jobs::Jobs;
use serde_json::{Value, json};

use crate::app::App;
use crate::http::access::{Access, ClientAddress};
use crate::signing::SigningError;
use crate::store::StoreError;

/// 200 while the process responds at all.
pub(super) async fn livez() -> &'static str {
    "ok"
}

/// 200 while changes can be stored, the tables fit and are not damaged, a key may sign, the keys match the files and the
/// database's record, the clock is trusted and compared with the database's, and no background job
/// fails. The database's own error is shown to administrators.
pub(super) async fn readyz(
    State(app): State<Arc<App>>,
    State(jobs): State<Arc<Jobs>>,
    State(access): State<Arc<Access>>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
) -> (StatusCode, Json<Value>) {
    let caller = access.known_caller(&app.store, &headers, address).await;
    readiness(&app, &jobs, caller.is_some()).await
}

async fn readiness(app: &App, jobs: &Jobs, is_administrator: bool) -> (StatusCode, Json<Value>) {
    let database = match app.store.check_writable().await {
        Ok(()) => {
            let damage = app.store.check_damage();
            damage.map_err(|error| shown("is damaged", &error, is_administrator))
        }
        Err(error) => Err(shown("does not accept changes", &error, is_administrator)),
    };
    let now = app.clock.now();
    let key = app.keys.to_sign().and_then(|keys| keys.check(now));
    let clock = app.signing_clock.permit(now);
    if let Err(error) = &key {
        tracing::error!(%error, "not ready");
    }
    let signing = match &key {
        Err(SigningError::Record { .. }) => Err("the key directory does not match the database"),
        Err(_) => Err("no key may sign"),
        Ok(()) if !app.are_keys_current() => Err("cannot reload the signing keys"),
        Ok(()) => Ok(()),
    };
    let failing = jobs.failing();
    let clock = match clock {
        Err(doubt) => Err(doubt.to_string()),
        Ok(_) if !app.signing_clock.is_watched() => {
            Err("cannot be compared with the database's clock, or recorded; see the log".to_owned())
        }
        Ok(_) => Ok(()),
    };
    let is_ready = database.is_ok() && signing.is_ok() && clock.is_ok() && failing.is_empty();
    let status = match is_ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = json!({
        "ready": is_ready,
        "database": database.err().unwrap_or_else(|| "ok".to_owned()),
        "signing": signing.err().unwrap_or("ok"),
        "jobs": match failing.is_empty() {
            true => "ok".to_owned(),
            false => format!("failing: {}", failing.join(", ")),
        },
        "clock": clock.err().unwrap_or_else(|| "ok".to_owned()),
    });
    (status, Json(body))
}

/// What is wrong with the database, and why. Errors may name hosts and users; those about the tables name
/// only what every database of this program has.
fn shown(what: &str, error: &StoreError, is_administrator: bool) -> String {
    let is_of_schema =
        matches!(error, StoreError::Database(error) if Failure::of(error) == Failure::Schema);
    match is_administrator || is_of_schema {
        true => format!("{what}: {error}"),
        false => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use chrono::DateTime;
    use license_service::clock::ManualClock;
    use license_service::database::Timeouts;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::config::{Storage, Terms, TrialSettings};

    #[tokio::test]
    async fn a_background_job_that_fails_is_shown() {
        let directory = tempfile::tempdir().unwrap();
        let storage = Storage {
            database_url: None,
            state_dir: directory.path().to_owned(),
            keys_dir: None,
            database_timeouts: Timeouts::default(),
        };
        let terms = Terms {
            issuer: "test".to_owned(),
            lease_hours: chrono::TimeDelta::hours(24),
            grace_hours: chrono::TimeDelta::hours(72),
            offline_days: chrono::TimeDelta::days(90),
            site_hosts: Vec::new(),
            trials: TrialSettings::default(),
        };
        let clock = Arc::new(ManualClock::at(DateTime::UNIX_EPOCH));
        let app = Arc::new(App::open(&storage, terms, clock.clone()).await.unwrap());
        let jobs = Arc::new(Jobs::new(clock, CancellationToken::new()));
        let ask = async || {
            let (status, Json(body)) = readiness(&app, &jobs, false).await;
            (status, body["jobs"].clone())
        };
        jobs.run("watch keys", pending);
        assert_eq!(ask().await, (StatusCode::OK, json!("ok")));
        jobs.run("prune history", || async { panic!("a bug") });
        for _ in 0..1000 {
            if !jobs.failures().contains(&("prune history", 0)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let failing = json!("failing: prune history");
        assert_eq!(ask().await, (StatusCode::SERVICE_UNAVAILABLE, failing));
    }
}
