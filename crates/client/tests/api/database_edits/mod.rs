//! A user of the database changes rows while the service runs, without any other right
//! on the machine, and gains nothing; what other processes change still counts.

mod displayed;
mod local_copy;
mod replicas;
mod revivals;
mod rows;
mod schedule;
mod sizes;

use std::sync::Arc;

use license_client::app::App;
use license_client::metrics::Readings;
use license_core::standing::Standing;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use serde_json::json;

use crate::database::Engine;
use crate::harness::Site;
use crate::vendor::Vendor;

const NOT_BOUGHT: &str = "module.analytics_advanced";

fn forged(key: &str) -> String {
    json!({"licenseKey": key, "tier": "enterprise", "maxCameras": -1, "enabledFeatures": [NOT_BOUGHT]})
        .to_string()
}

/// Without its jobs: what happens is what the test does.
async fn open(site: &Site) -> Arc<App> {
    let app = Arc::new(App::new(site.settings(), site.clock.clone()).unwrap());
    app.knowledge.load().await.unwrap();
    app
}

fn standing(app: &App) -> Standing {
    app.snapshot().standing(app.clock.now())
}

fn may_use(app: &App, feature: &str) -> bool {
    app.snapshot()
        .decide(feature, app.plausible_time(), |decision| decision.available)
}

fn events(app: &App) -> u64 {
    let text = app.metrics.text(&Readings::new()).unwrap();
    let name = "foxsight_license_security_events_total ";
    let count = text.lines().find_map(|line| line.strip_prefix(name));
    count.unwrap().parse().unwrap()
}

/// A site with a standard license that is stopped, and its vendor.
async fn standard(engine: Engine) -> (Site, Vendor, String) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    site.activate(&key).await;
    site.stop().await;
    (site, vendor, key)
}

const NEW_REVISION: &str =
    "UPDATE system_config SET value = 'x' WHERE key = 'license_client.revision'";
const NO_MEMO: &str = "DELETE FROM system_config WHERE key = 'license_client.evidence'";
