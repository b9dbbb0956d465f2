//! What other processes change still counts.

use chrono::TimeDelta;
use license_client::licensing::activate::activate;
use license_client::licensing::deactivate::deactivate;
use license_client::licensing::switch::switch;
use license_client::licensing::validate::validate;
use license_client::store::system_config;
use license_core::standing::Standing;
use license_server::store::licenses::Status;

use super::{events, may_use, open, standard, standing};
use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::Site;
use crate::vendor::Vendor;

on_both_engines! {
    replicas_still_share_what_they_do;
    what_is_read_together_is_of_one_moment;
}

async fn replicas_still_share_what_they_do(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut first = Site::start(engine, &vendor.url, &flags).await;
    first.stop().await;
    let mut other =
        Site::start_on(TestDatabase::same_as(&first.database), &vendor.url, &flags).await;
    other.stop().await;
    let (one, two) = (open(&first).await, open(&other).await);
    let shared = async |what: &str| {
        two.knowledge.reload(None).await.unwrap();
        let known = two.snapshot().evidence.clone();
        assert_eq!(known, one.snapshot().evidence, "{what}");
    };
    let advance = |by| {
        for clock in [&vendor.clock, &first.clock, &other.clock] {
            clock.advance(by);
        }
    };
    let keys = [
        vendor.issue_professional().await,
        vendor.issue_professional().await,
    ];
    for key in [&keys[0], &keys[1], &keys[0]] {
        activate(&one, key).await.unwrap();
        shared("an activation").await;
        advance(TimeDelta::minutes(10));
        validate(&one).await;
        shared("a validation").await;
        assert_eq!(standing(&two), Standing::Active);
        advance(TimeDelta::minutes(10));
    }
    switch(&one, "module.map_view", false).await.unwrap();
    shared("a switch").await;
    assert!(!may_use(&two, "module.map_view"));
    vendor.set_status(&keys[0], Status::Suspended, None).await;
    validate(&one).await;
    shared("a denial").await;
    assert_eq!(standing(&two).as_str(), "lapsed");
    vendor.set_status(&keys[0], Status::Active, None).await;
    advance(TimeDelta::minutes(10));
    validate(&one).await;
    shared("a new lease").await;
    assert_eq!(standing(&two), Standing::Active);
    deactivate(&one, false).await.unwrap();
    shared("a deactivation").await;
    assert_eq!(standing(&two), Standing::Unlicensed);
    advance(TimeDelta::minutes(10));
    activate(&one, &keys[0]).await.unwrap();
    shared("an activation of the same key").await;
    assert_eq!(standing(&two), Standing::Active);
    assert_eq!(events(&one) + events(&two), 0);
    one.store.close().await;
    two.store.close().await;
    first.end().await;
}

async fn what_is_read_together_is_of_one_moment(engine: Engine) {
    let (site, _vendor, _key) = standard(engine).await;
    let app = open(&site).await;
    let revision = system_config::REVISION;
    let reading = app.store.db().begin_reading().await.unwrap();
    let before = system_config::get(&reading, revision).await.unwrap();
    switch(&app, "module.map_view", false).await.unwrap();
    assert_eq!(
        system_config::get(&reading, revision).await.unwrap(),
        before
    );
    reading.rollback().await.unwrap();
    assert_ne!(app.store.revision().await.unwrap(), before);
    app.store.close().await;
    site.end().await;
}
