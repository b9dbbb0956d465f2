//! Run the service until it receives a stop signal.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use license_service::jobs::Jobs;
use license_service::listener::{self, Limits};
use license_service::request_body::BodyLimits;
use license_service::{supervisor, telemetry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::console;
use crate::http::access::Access;
use crate::http::{self, HttpState};
use crate::keyed_call;
use crate::licensing::current::catch_up;
use crate::licensing::fleet::Survey;
use crate::licensing::keys_error::KeysError;
use crate::licensing::{clock, history, key_record, restored};

/// How often the key directory is checked.
const KEY_POLL_INTERVAL: Duration = Duration::from_secs(2);

/// How often the counts of calls are stored.
const FLUSH_INTERVAL: Duration = Duration::from_secs(10);
/// How often the clock is compared with the database's.
const WATCH_CLOCK_INTERVAL: Duration = Duration::from_secs(15);
/// The same, after the database has refused it.
const RETRY_CLOCK_INTERVAL: Duration = Duration::from_secs(2);
/// How often the database is checked for what this server has committed.
const WATCH_COMMITS_INTERVAL: Duration = Duration::from_secs(2);
/// How often old history is removed.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// How often answers that are no longer repeated are removed.
const PRUNE_KEYS_INTERVAL: Duration = Duration::from_secs(60);
/// How often licenses are updated that start, end or are amended on their own.
const FOLLOW_AMENDMENTS_INTERVAL: Duration = Duration::from_secs(60);
/// How often the fleet is evaluated for the metrics.
const SURVEY_INTERVAL: Duration = Duration::from_secs(60);

/// Networks of the vendor's own machines: proxies, which connect for all sites behind them, and
/// monitoring. These addresses are not used on the internet.
const PRIVATE_NETWORKS: [IpNet; 7] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16)),
    IpNet::V6(Ipv6Net::new_assert(
        Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0),
        7,
    )),
    IpNet::V6(Ipv6Net::new_assert(
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0),
        10,
    )),
];

/// The limits of connections and request bodies.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// The limits of connections. The private networks are added to the trusted ones.
    pub limits: Limits,
    /// The limits of request bodies.
    pub bodies: BodyLimits,
}

/// Serves on `listener`, with the default limits, until `shutdown` is cancelled.
///
/// # Errors
/// If the address of the listener is unknown.
pub async fn serve(
    app: Arc<App>,
    access: Access,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    serve_within(app, access, listener, Bounds::default(), shutdown).await
}

/// The same with other limits.
///
/// # Errors
/// If the address of the listener is unknown.
pub async fn serve_within(
    app: Arc<App>,
    access: Access,
    listener: TcpListener,
    bounds: Bounds,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    tracing::info!(address = %listener.local_addr()?, keys = ?app.keys(), "listening");
    let access = Arc::new(access);
    if let Err(error) = access.named.read(&app.store).await {
        tracing::debug!(%error, "failed to read the tokens");
    }
    if !access.has_tokens() {
        tracing::info!(
            "the console and /api/admin are disabled: ADMIN_TOKEN is not set, and there are no \
             named tokens; create one with 'license-server tokens add NAME'"
        );
    }
    app.numbering.wait_for_another(app.clock.now());
    record_coverage(&app, false).await;
    let stop_jobs = CancellationToken::new();
    let survey: Arc<Survey> = Arc::default();
    let jobs = start_jobs(&app, &survey, &access, stop_jobs.clone());
    let state = HttpState {
        app: app.clone(),
        access,
        survey,
        bodies: http::bounds(bounds.bodies),
        jobs: jobs.clone(),
    };
    let pages = console::pages(state.clone());
    let router = http::router(state, pages);
    let mut limits = bounds.limits;
    limits.trusted_networks.extend(PRIVATE_NETWORKS);
    listener::serve(router, listener, limits, Arc::default(), shutdown).await;
    stop_jobs.cancel();
    jobs.ended().await;
    app.write_traffic_down().await;
    record_coverage(&app, true).await;
    app.store.clone().close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Records the time up to which the database is complete, when this server starts and when it
/// stops. A failure is logged.
async fn record_coverage(app: &App, is_closed: bool) {
    let recorded = restored::record(&app.store, &app.numbering, &app.signing_clock, is_closed);
    if let Err(error) = recorded.await {
        tracing::warn!(%error, "failed to record the time up to which the database is complete");
    }
}

/// Starts the background jobs, under supervision.
fn start_jobs(
    app: &Arc<App>,
    survey: &Arc<Survey>,
    access: &Arc<Access>,
    shutdown: CancellationToken,
) -> Arc<Jobs> {
    let jobs = Arc::new(Jobs::new(app.clock.clone(), shutdown));
    let (watched, kept, compared) = (app.clone(), app.clone(), app.clone());
    let proven = app.clone();
    jobs.run("watch keys", move || watch_keys(watched.clone()));
    jobs.run("prune history", move || keep_history(kept.clone()));
    jobs.run("watch clock", move || watch_clock(compared.clone()));
    jobs.run("watch commits", move || watch_commits(proven.clone()));
    let (looking, survey) = (app.clone(), survey.clone());
    jobs.run("evaluate the fleet", move || {
        look_at_fleet(looking.clone(), survey.clone())
    });
    let pruned = app.clone();
    jobs.run("prune idempotency keys", move || {
        prune_keyed_calls(pruned.clone())
    });
    let amended = app.clone();
    jobs.run("update amended licenses", move || {
        follow_amendments(amended.clone())
    });
    let (reading, access) = (app.clone(), access.clone());
    jobs.run("follow tokens", move || {
        let (app, access) = (reading.clone(), access.clone());
        async move { access.named.follow(&app.store).await }
    });
    jobs.run("report log", telemetry::report_regularly);
    supervisor::start_watchdog(&jobs);
    jobs
}

/// Stores the counts, and removes old ones.
async fn keep_history(app: Arc<App>) -> Infallible {
    let mut forgot_at = None;
    loop {
        let now = app.clock.running();
        let is_due = forgot_at.is_none_or(|at| now.saturating_sub(at) >= PRUNE_INTERVAL);
        if is_due {
            forgot_at = Some(now);
            if let Err(error) = history::forget(&app).await {
                tracing::warn!(%error, "failed to remove old history");
            }
        }
        tokio::time::sleep(FLUSH_INTERVAL).await;
        app.write_traffic_down().await;
    }
}

/// Evaluates the fleet for the metrics, which anyone may read.
async fn look_at_fleet(app: Arc<App>, survey: Arc<Survey>) -> Infallible {
    loop {
        if let Err(error) = survey.fleet(&app).await {
            tracing::debug!(%error, "failed to evaluate the fleet");
        }
        tokio::time::sleep(SURVEY_INTERVAL).await;
    }
}

/// Stores what licenses have become on their own, so that lists find them by that. Nothing is stored
/// while the clock may be wrong.
async fn follow_amendments(app: Arc<App>) -> Infallible {
    loop {
        if let Ok(at) = app.signing_clock.permit(app.clock.now())
            && let Err(error) = catch_up(&app.store, at).await
        {
            // The database module logs failures of the database.
            tracing::debug!(%error, "failed to update amended licenses");
        }
        tokio::time::sleep(FOLLOW_AMENDMENTS_INTERVAL).await;
    }
}

/// Removes answers that are no longer repeated. None is removed while the clock may be wrong.
async fn prune_keyed_calls(app: Arc<App>) -> Infallible {
    loop {
        tokio::time::sleep(PRUNE_KEYS_INTERVAL).await;
        if let Ok(now) = app.signing_clock.permit(app.clock.now())
            && let Err(error) = keyed_call::prune(&app.store, now).await
        {
            // The database module logs failures of the database.
            tracing::debug!(%error, "failed to remove old answers");
        }
    }
}

/// Compares the clock with the database's, and logs when signing stops and resumes.
async fn watch_clock(app: Arc<App>) -> Infallible {
    let mut could_sign = true;
    let mut reported = None;
    loop {
        let failed = clock::watch(&app).await.err().map(|it| it.to_string());
        if let Some(error) = failed.as_ref().filter(|_| failed != reported) {
            tracing::error!(
                error,
                "cannot compare the clock with the database's clock, or record that the clock is \
                 trusted"
            );
        }
        reported = failed;
        let can_sign = app.can_sign();
        match &can_sign {
            Err(error) if could_sign => {
                tracing::error!(security = true, %error, "signing stopped");
            }
            Ok(()) if !could_sign => tracing::info!("signing resumed"),
            _ => {}
        }
        could_sign = can_sign.is_ok();
        tokio::time::sleep(match app.signing_clock.is_watched() {
            true => WATCH_CLOCK_INTERVAL,
            false => RETRY_CLOCK_INTERVAL,
        })
        .await;
    }
}

/// Detects that the database has lost what this server has committed.
async fn watch_commits(app: Arc<App>) -> Infallible {
    loop {
        tokio::time::sleep(WATCH_COMMITS_INTERVAL).await;
        if let Err(error) = restored::watch(&app).await {
            // The database module logs failures of the database.
            tracing::debug!(%error, "cannot check whether the database is complete");
        }
    }
}

/// Loads keys that a command has created in the meantime.
async fn watch_keys(app: Arc<App>) -> Infallible {
    let mut reported = None;
    loop {
        tokio::time::sleep(KEY_POLL_INTERVAL).await;
        match key_record::watch(&app).await {
            Ok(is_reloaded) => {
                if is_reloaded {
                    tracing::info!(keys = ?app.keys(), "the signing keys have changed");
                }
                reported = None;
            }
            // The database module logs failures of the database.
            Err(KeysError::Store(error)) if error.is_outage() => {}
            Err(error) => {
                // It is retried each time, but logged only once.
                let text = Some(error.to_string());
                if reported != text {
                    let signs = app.keys.to_sign().is_ok();
                    match error {
                        KeysError::Signing(error) if error.is_about_content() => tracing::error!(
                            security = true,
                            %error,
                            signs,
                            "cannot use the key directory, keeping the previous signing keys"
                        ),
                        error => tracing::error!(
                            %error,
                            signs,
                            "cannot check the key directory, keeping the previous signing keys"
                        ),
                    }
                }
                reported = text;
            }
        }
    }
}
