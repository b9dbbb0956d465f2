//! Each token has its own share of the sessions of the console.

use chrono::TimeDelta;
use futures_util::future::join_all;

use super::{Browser, added};
use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, Vendor};

on_both_engines! {
    no_token_ends_the_sessions_of_another_one;
    a_token_has_ten_sessions_however_many_begin_at_once;
}

async fn no_token_ends_the_sessions_of_another_one(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (ana, ben) = (
        added(&vendor, "ana", None).await,
        added(&vendor, "ben", None).await,
    );
    let others = [
        Browser::sign_in(&vendor, &ben).await.unwrap(),
        Browser::sign_in(&vendor, ADMIN_TOKEN).await.unwrap(),
    ];
    let mut sessions = Vec::new();
    for _ in 0..12 {
        vendor.clock.advance(TimeDelta::seconds(1));
        sessions.push(Browser::sign_in(&vendor, &ana).await.unwrap());
    }
    for session in &others {
        assert!(session.is_signed_in(&vendor).await);
    }
    // Its own sessions that were idle the longest end.
    for (place, session) in sessions.iter().enumerate() {
        assert_eq!(session.is_signed_in(&vendor).await, place >= 2, "{place}");
    }
    // So it is for those of the ADMIN_TOKEN, which several people may share.
    for _ in 0..100 {
        vendor.clock.advance(TimeDelta::seconds(1));
        Browser::sign_in(&vendor, ADMIN_TOKEN).await.unwrap();
    }
    assert!(!others[1].is_signed_in(&vendor).await);
    assert!(others[0].is_signed_in(&vendor).await);
    assert!(sessions[11].is_signed_in(&vendor).await);
    vendor.end().await;
}

async fn a_token_has_ten_sessions_however_many_begin_at_once(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    let ana = added(&vendor, "ana", None).await;
    for _ in 0..9 {
        Browser::sign_in(&vendor, &ana).await.unwrap();
    }
    vendor.clock.advance(TimeDelta::seconds(10));
    let servers = [&vendor, &twin];
    let beginning = (0..8).map(|place| Browser::sign_in(servers[place % 2], &ana));
    let begun = join_all(beginning).await;
    assert_eq!(begun.iter().flatten().count(), 8);
    let counted = "SELECT CAST(COUNT(*) AS TEXT) FROM console_sessions";
    assert_eq!(
        vendor.database.texts(counted).await,
        [Some("10".to_owned())]
    );
    twin.stop().await;
    vendor.end().await;
}
