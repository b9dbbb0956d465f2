//! Any edit of the stored time gains nothing.

use chrono::TimeDelta;
use license_client::app::App;
use license_client::knowledge::timekeeping::Occasion;
use license_client::licensing::validate::validate;

use super::{Kept, PAID, at, expired};
use crate::database::{Engine, on_both_engines};
use crate::harness::{START, Site};
use crate::tampering::security_events;
use crate::vendor::Vendor;

on_both_engines! {
    an_expired_license_stays_expired_after_any_edit_of_the_stored_data;
    grace_that_is_over_stays_over_when_the_wall_clock_is_turned_back_as_well;
    with_nothing_kept_a_site_lapses_only_after_one_validation_was_tried;
}

/// Each choice of the places where the time is kept.
fn choices() -> Vec<Vec<&'static str>> {
    let choice = |bits: u32| {
        let places = ["time.json", "local-copy.json", "row"];
        let chosen = (0..3).filter(|place| bits & (1 << place) != 0);
        chosen.map(|place| places[place]).collect()
    };
    (1..8).map(choice).collect()
}

async fn an_expired_license_stays_expired_after_any_edit_of_the_stored_data(engine: Engine) {
    let (mut site, _vendor, good) = expired(engine).await;
    let over = Kept::read(&site).await;
    let forged = over.forged(START.parse().unwrap());
    let nothing = Kept::nothing();
    for ahead in [TimeDelta::hours(30), TimeDelta::days(365)] {
        site.clock.set_wall(at(START) + ahead);
        for taken in choices() {
            for (name, other) in [("removed", &nothing), ("edited", &forged), ("old", &good)] {
                // Everything put back together is a machine that is put back.
                if name == "old" && taken.len() == 3 {
                    continue;
                }
                over.with(&taken, other).write(&site).await;
                site.restart().await;
                let case = format!("{name} {taken:?}, {ahead}");
                let is_left = taken.len() < 3;
                if is_left {
                    // As long as one is left it does not come on for a moment.
                    assert!(!site.is_available(PAID).await, "{case}");
                }
                site.until(&case, async || !site.is_available(PAID).await)
                    .await;
                assert_eq!(site.status().await["reason"], "license_expired", "{case}");
                assert!(site.is_available("module.recording_basic").await);
                // A file that is gone is as much of an event as one that was edited.
                let is_event = name != "old" && taken.contains(&"time.json");
                assert_eq!(security_events(&site).await > 0, is_event, "{case}");
                site.stop().await;
            }
        }
    }
    // Nor does a key that was removed or replaced.
    for key in [None, Some(b"00".repeat(64))] {
        let mut kept = over.clone();
        kept.files.insert("time.key", key);
        kept.write(&site).await;
        site.restart().await;
        assert!(!site.is_available(PAID).await);
        assert!(security_events(&site).await > 0);
        site.stop().await;
    }
    site.end().await;
}

async fn grace_that_is_over_stays_over_when_the_wall_clock_is_turned_back_as_well(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    site.activate(&vendor.issue_professional().await).await;
    vendor.go_away().await;
    site.restart().await;
    let good = Kept::read(&site).await;
    site.advance(TimeDelta::hours(97));
    assert_eq!(site.status().await["reason"], "grace_period_expired");
    site.stop().await;
    let over = Kept::read(&site).await;
    // Any one of the three is enough.
    for taken in choices().into_iter().filter(|taken| taken.len() < 3) {
        for other in [&Kept::nothing(), &good, &over.forged(at(START))] {
            over.with(&taken, other).write(&site).await;
            site.clock.set_wall(at(START));
            site.restart().await;
            let reason = site.status().await["reason"].clone();
            assert_eq!(reason, "grace_period_expired", "{taken:?}");
            site.stop().await;
        }
    }
    site.end().await;
}

async fn with_nothing_kept_a_site_lapses_only_after_one_validation_was_tried(engine: Engine) {
    let (site, _vendor, _) = expired(engine).await;
    Kept::nothing().write(&site).await;
    site.clock.set_wall(at("2038-01-19T03:14:08Z"));
    // Without jobs: nothing calls the License Server unless the test does.
    let app = App::new(site.settings(), site.clock.clone()).unwrap();
    app.knowledge.load().await.unwrap();
    let standing = |app: &App| {
        let now = app.clock.now();
        app.snapshot().standing(now).as_str()
    };
    assert_ne!(standing(&app), "lapsed");
    assert!(app.knowledge.calls().is_validation_wanted());
    // What has run is kept, and that it has waited.
    app.knowledge.keep_time(Occasion::Running).await;
    assert!(site.state_file("time.json").exists());
    let kept = Kept::read(&site).await;
    validate(&app).await;
    assert_eq!(standing(&app), "lapsed");
    app.knowledge.keep_time(Occasion::Running).await;
    assert!(site.state_file("time.json").exists());
    app.store.close().await;
    // From now on without asking, also after a start that was killed while it waited.
    for file in [None, Some(kept)] {
        if let Some(kept) = file {
            kept.write(&site).await;
        }
        let app = App::new(site.settings(), site.clock.clone()).unwrap();
        app.knowledge.load().await.unwrap();
        assert_eq!(standing(&app), "lapsed");
        app.store.close().await;
    }
    site.end().await;
}
