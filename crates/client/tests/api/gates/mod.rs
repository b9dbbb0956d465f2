//! Gateways of all kinds: the real programs, with what we ship and the
//! examples, each asked the same before a real License Server.

mod apache;
mod as_in_version_1;
mod axum_gateway;
mod backend;
mod browser;
mod caddy;
mod dns;
mod envoy;
mod envoy_grpc;
mod every_gateway;
mod fastapi;
mod haproxy;
mod hosts;
pub mod nginx;
mod nginx_other_services;
mod nginx_surroundings;
mod node;
mod odd_hosts;
mod odd_paths;
mod odd_targets;
mod openfeature;
mod other_services;
pub mod process;
mod python_provider;
mod recorder;
mod requests;
pub mod shipped;
mod traefik;
mod visitor_headers;
mod visitors;
mod without_client;

use chrono::{DateTime, TimeDelta};
use license_service::clock::Clock as _;
use serde_json::Value;
use tempfile::TempDir;

use self::backend::{Backend, PIECES};
use self::requests::{get, raw, raw_answer};
use crate::database::Engine;
use crate::harness::Site;
use crate::vendor::Vendor;

/// Every path that gateways are asked for, and what it needs.
const ROUTES: &str = r#"
[[route]]
path = "/map/**"
feature = "module.map_view"

[[route]]
path = "/alarms/**"
feature = "module.alarm_advanced"

[[route]]
path = "/live/**"
feature = "module.live_view"

[[route]]
path = "/nope/**"
feature = "module.nope"

[[route]]
path = "/api/cameras/*/export"
feature = "module.alarm_advanced"

[[route]]
path = "/form/**"
methods = ["GET"]

[[route]]
path = "/form/**"
feature = "module.alarm_advanced"
"#;

/// A site whose license lists the map and no alarms, behind gateways.
struct Licensed {
    vendor: Vendor,
    site: Site,
    backend: Backend,
    _directory: TempDir,
}

impl Licensed {
    /// Gateways say which feature a path needs.
    async fn by_feature() -> Self {
        Self::with(&[]).await
    }

    /// The License Client knows which feature a path needs.
    async fn by_path() -> Self {
        Self::by_a_table(ROUTES).await
    }

    /// The same with another table.
    async fn by_a_table(routes: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("routes.toml");
        std::fs::write(&file, routes).unwrap();
        let mut licensed = Self::with(&["--gate-routes", &file.display().to_string()]).await;
        licensed._directory = directory;
        licensed
    }

    async fn with(flags: &[&str]) -> Self {
        Self::of(Vendor::start().await, flags).await
    }

    /// A site of today: a gate with keys looks at its own wall clock, too.
    async fn today() -> Self {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap();
        let now = DateTime::UNIX_EPOCH + TimeDelta::from_std(since).unwrap();
        let (day, grace) = (TimeDelta::hours(24), TimeDelta::hours(72));
        Self::of(Vendor::start_at(now, day, grace).await, &[]).await
    }

    async fn of(vendor: Vendor, flags: &[&str]) -> Self {
        let keys = vendor.trusted_keys();
        let flags = [&["--license-trusted-keys", keys.as_str()], flags].concat();
        let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
        site.advance(vendor.clock.now() - site.now());
        let key = vendor.issue_professional().await;
        assert_eq!(site.activate(&key).await.0, 200);
        Self {
            vendor,
            site,
            backend: Backend::start().await,
            _directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Allowed, refused, core, unknown: what every gateway has to say of a
    /// licensed site.
    async fn is_gated_by(&self, gateway: &str) {
        for (path, status) in [
            ("/map/1", 200),
            ("/alarms/1", 403),
            ("/live/1", 200),
            ("/nope/1", 403),
        ] {
            let answer = get(gateway, path, &[]).await;
            assert_eq!(answer.status(), status, "{path}");
            if status == 403 {
                let body: Value = answer.json().await.unwrap();
                assert_eq!(body["reason"], "not_in_license", "{path}: {body}");
                assert!(body["detail"].is_string(), "{path}: {body}");
            }
        }
    }

    /// With the License Client, without it, and while it hangs.
    async fn guard_holds_in_every_way(mut self, gateway: &str) {
        self.withstands_what_visitors_try(gateway).await;
        self.is_shut_without_it(gateway, 503).await;
        self.holds_nothing_else_up_while_it_hangs(gateway, "/health/1")
            .await;
        self.end().await;
    }

    async fn end(self) {
        self.site.end().await;
        drop(self.vendor);
    }
}
