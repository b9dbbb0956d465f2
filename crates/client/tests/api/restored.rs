//! A site whose License Server was restored from a backup that is older than its license.

use chrono::TimeDelta;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::store::audit_log::{Filter, newest};

use crate::database::Engine;
use crate::harness::Site;
use crate::vendor::Vendor;

/// A License Server that is restored, and the site of a license key.
struct Scene {
    vendor: Vendor,
    site: Site,
    key: String,
}

impl Scene {
    /// The backup contains the license if `issued_before` is set; the site is activated after the
    /// backup, and the backup restored after that.
    async fn start(issued_before: bool) -> Self {
        let mut vendor = Vendor::start().await;
        let other = vendor.issue_professional().await;
        let backup = vendor.database_file().with_extension("backup");
        vendor.go_away().await;
        std::fs::copy(vendor.database_file(), &backup).unwrap();
        vendor.come_back().await;
        let key = match issued_before {
            true => other,
            false => vendor.issue_professional().await,
        };
        let keys = vendor.trusted_keys();
        let flags = ["--license-trusted-keys", keys.as_str()];
        let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
        let mut scene = Self { vendor, site, key };
        scene.advance(TimeDelta::hours(1));
        assert_eq!(scene.site.activate(&scene.key).await.0, 200);
        scene.advance(TimeDelta::hours(1));
        assert_eq!(scene.site.validate().await["valid"], true);
        scene.vendor.go_away().await;
        std::fs::copy(&backup, scene.vendor.database_file()).unwrap();
        scene.advance(TimeDelta::minutes(5));
        scene.vendor.come_back().await;
        scene
    }

    fn advance(&self, by: TimeDelta) {
        self.vendor.advance(by);
        self.site.advance(by);
    }

    async fn heartbeat(&self) {
        self.site.post("/api/license/heartbeat", None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_whose_key_was_lost_works_until_the_key_is_issued_again() {
    let scene = Scene::start(false).await;
    for _ in 0..3 {
        scene.heartbeat().await;
        scene.site.validate().await;
        assert_eq!(scene.site.standing().await, "grace");
        assert!(scene.site.is_available("module.map_view").await);
        scene.advance(TimeDelta::minutes(5));
    }
    let status = scene.site.status().await;
    assert!(!status.to_string().contains("unknown_license"), "{status}");
    let log = newest(scene.vendor.app.store.reader(), &Filter::default(), 100).await;
    let alerts = log
        .unwrap()
        .into_iter()
        .filter(|it| it.action == "answer_withheld");
    assert_eq!(alerts.count(), 1, "staff see it once an hour");

    let again = IssueRequest {
        key: Some(scene.key.clone()),
        ..IssueRequest::of(Tier::Professional)
    };
    scene.vendor.issue(again).await;
    assert_eq!(scene.site.validate().await["valid"], true);
    assert_eq!(scene.site.standing().await, "active");
    scene.site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_whose_seat_was_lost_has_it_again_with_its_next_call() {
    for first_call in ["heartbeat", "validate"] {
        let scene = Scene::start(true).await;
        if first_call == "heartbeat" {
            scene.heartbeat().await;
        }
        assert_eq!(scene.site.validate().await["valid"], true, "{first_call}");
        assert_eq!(scene.site.standing().await, "active", "{first_call}");
        scene.site.end().await;
    }
}
