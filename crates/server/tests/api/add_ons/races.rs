//! An add-on key is redeemed by several at once.

use futures_util::future::join_all;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{active, cameras, license, number_of_amendments, word};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    a_key_that_two_licenses_redeem_at_once_is_redeemed_by_one;
    a_key_that_a_license_redeems_many_times_at_once_counts_once;
    a_key_is_refunded_or_redeemed_and_never_both;
}

/// Two servers, so that nothing in memory decides.
async fn two(engine: Engine) -> (Vendor, Vendor) {
    let vendor = Vendor::start(engine).await;
    let twin = vendor.twin().await;
    (vendor, twin)
}

async fn a_key_that_two_licenses_redeem_at_once_is_redeemed_by_one(engine: Engine) {
    let (vendor, twin) = two(engine).await;
    let (one, other) = (active(&vendor).await, active(&vendor).await);
    let before = license(&vendor, &one).await.max_cameras;
    for round in 1..=8 {
        let add_on = cameras(&vendor, 16).await;
        let (mut words, keys) = {
            let (first, second) = tokio::join!(
                word(&vendor, &one, &add_on, "machine"),
                word(&twin, &other, &add_on, "machine")
            );
            ([first, second], [&one, &other])
        };
        words.sort_unstable();
        assert_eq!(words, ["add_on_elsewhere", "redeemed"]);
        let mut cameras = 0;
        for key in keys {
            cameras += license(&vendor, key).await.max_cameras - before;
        }
        assert_eq!(cameras, 16 * round, "exactly one license has each key");
    }
    twin.stop().await;
    vendor.end().await;
}

async fn a_key_that_a_license_redeems_many_times_at_once_counts_once(engine: Engine) {
    let (vendor, twin) = two(engine).await;
    let key = active(&vendor).await;
    let before = license(&vendor, &key).await.max_cameras;
    let add_on = cameras(&vendor, 16).await;
    let path = format!("/licenses/{key}/redeem");
    let by_staff = async |vendor: &Vendor| {
        let body = json!({"addOnKey": add_on});
        vendor.admin(Method::POST, &path, body).await.0
    };
    let sites = join_all((0..4).map(|_| word(&vendor, &key, &add_on, "machine")));
    let others = join_all((0..4).map(|_| word(&twin, &key, &add_on, "machine")));
    let (sites, others, staff) = tokio::join!(sites, others, by_staff(&twin));
    assert!(
        sites.iter().chain(&others).all(|it| it == "redeemed"),
        "{sites:?} {others:?}"
    );
    assert_eq!(staff, StatusCode::OK);
    assert_eq!(number_of_amendments(&vendor, &key).await, 2);
    assert_eq!(license(&vendor, &key).await.max_cameras, before + 16);
    twin.stop().await;
    vendor.end().await;
}

async fn a_key_is_refunded_or_redeemed_and_never_both(engine: Engine) {
    let (vendor, twin) = two(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    vendor.activate(&key, "machine").await;
    let before = license(&vendor, &key).await.max_cameras;
    for _ in 0..8 {
        let add_on = cameras(&vendor, 16).await;
        let path = format!("/addons/{add_on}/refund");
        let (told, (status, answer)) = tokio::join!(
            word(&vendor, &key, &add_on, "machine"),
            twin.admin(Method::POST, &path, json!({}))
        );
        assert_eq!(status, StatusCode::OK, "{answer}");
        // The site was first, and lost it again, or it came too late.
        let undone = &answer["amended"]["amendment"]["undoes"];
        match told.as_str() {
            "redeemed" => assert!(undone.is_u64(), "{answer}"),
            "add_on_refunded" => assert!(undone.is_null(), "{answer}"),
            other => panic!("{other}"),
        }
        assert_eq!(license(&vendor, &key).await.max_cameras, before);
    }
    twin.stop().await;
    vendor.end().await;
}
