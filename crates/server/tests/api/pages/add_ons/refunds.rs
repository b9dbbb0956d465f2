//! Add-on keys are refunded after a preview.

use license_server::store::licenses::Status;
use serde_json::{Value, json};

use crate::add_ons::{active, cameras, license, redeem};
use crate::database::{Engine, on_both_engines};
use crate::pages::amend::contains_all;
use crate::pages::{Staff, hidden_fields};

on_both_engines! {
    a_refund_does_what_its_preview_said;
    a_key_that_no_license_has_is_refunded;
    the_second_of_two_staff_is_told;
    a_refund_that_would_do_something_else_is_previewed_again;
}

impl Staff {
    /// Confirms a page.
    async fn refund(&self, preview: &str, id: &Value, reason: &str) -> (u16, String) {
        let fields = format!("{}&reason={reason}", hidden_fields(preview));
        let path = format!("/console/add-ons/{id}/refund");
        self.post(&path, &fields).await
    }

    async fn refund_preview(&self, id: &Value) -> String {
        let path = format!("/console/add-ons/{id}/refund");
        let (status, page) = self.get(&path).await;
        assert_eq!(status, 200, "{page}");
        contains_all(&page, &["Refund this add-on key?", "has been saved yet"]);
        page
    }
}

async fn a_refund_does_what_its_preview_said(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    let (key, add_on, id) = staff.redeemed().await;
    staff.vendor.heartbeat(&key, "machine", 20).await;
    let preview = staff.refund_preview(&id).await;
    contains_all(
        &preview,
        &[
            "<dt>Grants</dt><dd>16 cameras</dd>",
            "<dt>Order</dt><dd>4712</dd>",
            "amendment 2 undone",
            "<dt>Amendment</dt><dd>3</dd>",
            "Cameras: 16 instead of 32",
            "Installations that would exceed a limit: 1.",
            "Cameras: 20 of 16 (4 over) from",
        ],
    );
    assert!(
        preview.contains(&key) && !preview.contains(&add_on),
        "{preview}"
    );
    assert_eq!(
        license(&staff.vendor, &key).await.max_cameras,
        32,
        "only asked"
    );
    // An error keeps the reason.
    let long = "x".repeat(1001);
    let (status, page) = staff.refund(&preview, &id, &long).await;
    assert_eq!(status, 400);
    contains_all(
        &page,
        &["Invalid reason: limited to 1000 characters", &long],
    );
    assert_eq!(license(&staff.vendor, &key).await.max_cameras, 32);

    let (status, _) = staff.refund(&preview, &id, "Ordered+twice").await;
    assert_eq!(status, 303);
    assert_eq!(license(&staff.vendor, &key).await.max_cameras, 16);
    let path = format!("/licenses/{key}/amendments");
    let undone = staff.vendor.look(&path).await["amendments"][0].take();
    assert_eq!(
        (&undone["number"], &undone["undoes"]),
        (&json!(3), &json!(2))
    );
    let reason = undone["reason"].as_str().unwrap();
    assert!(reason.ends_with(": Ordered twice"), "{reason}");
    let (_, list) = staff.get("/console/add-ons?done=add-on-refunded").await;
    contains_all(&list, &["Add-on key refunded.", ">Refunded</span>"]);
    assert!(
        !list.contains("/refund\""),
        "it is refunded already: {list}"
    );
    for unknown in ["999", "x", "FXSADD-2222-2222-2222-2223"] {
        let path = format!("/console/add-ons/{unknown}/refund");
        assert_eq!(staff.get(&path).await.0, 404, "{unknown}");
        assert_eq!(staff.post(&path, "reason=x").await.0, 404, "{unknown}");
    }
    staff.vendor.end().await;
}

async fn a_key_that_no_license_has_is_refunded(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    cameras(&staff.vendor, 16).await;
    let preview = staff.refund_preview(&json!(1)).await;
    contains_all(&preview, &["The key was never redeemed."]);
    assert!(!preview.contains("id=\"effects\""), "{preview}");
    assert_eq!(staff.refund(&preview, &json!(1), "").await.0, 303);
    // Nor has a license that was revoked.
    let (key, _, id) = staff.redeemed().await;
    staff.vendor.set_status(&key, Status::Revoked).await;
    let preview = staff.refund_preview(&id).await;
    contains_all(
        &preview,
        &["The license no longer includes the entitlements", &key],
    );
    assert_eq!(staff.refund(&preview, &id, "").await.0, 303);
    let all = staff.add_ons().await;
    for add_on in all["addOns"].as_array().unwrap() {
        assert_eq!(add_on["state"], "refunded", "{all}");
    }
    staff.vendor.end().await;
}

async fn the_second_of_two_staff_is_told(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    for _ in 0..4 {
        let (key, _, id) = staff.redeemed().await;
        let preview = staff.refund_preview(&id).await;
        let (one, two) = tokio::join!(
            staff.refund(&preview, &id, "One"),
            staff.refund(&preview, &id, "Two")
        );
        let mut both = [one, two];
        both.sort();
        let [(first, _), (second, page)] = both;
        assert_eq!((first, second), (303, 409), "{page}");
        contains_all(&page, &["The add-on key has already been refunded"]);
        let path = format!("/licenses/{key}/amendments");
        let amendments = staff.vendor.look(&path).await;
        assert_eq!(amendments["amendments"].as_array().unwrap().len(), 3);
        assert_eq!(
            staff.get(&format!("/console/add-ons/{id}/refund")).await.0,
            409
        );
    }
    staff.vendor.end().await;
}

async fn a_refund_that_would_do_something_else_is_previewed_again(engine: Engine) {
    let staff = Staff::signed_in_with(engine).await;
    let key = active(&staff.vendor).await;
    let add_on = cameras(&staff.vendor, 16).await;
    let id = json!(1);
    let unredeemed = staff.refund_preview(&id).await;
    redeem(&staff.vendor, &key, &add_on, "machine").await;
    let (status, page) = staff.refund(&unredeemed, &id, "A+mistake").await;
    assert_eq!(status, 409);
    contains_all(
        &page,
        &[
            "The add-on key was redeemed, or its license was amended, after this preview",
            "Cameras: 16 instead of 32",
            "name=\"reason\" value=\"A mistake\"",
        ],
    );
    crate::amendments::amended(&staff.vendor, &key, json!({"seats": 2})).await;
    let (status, page) = staff.refund(&page, &id, "A+mistake").await;
    assert_eq!(status, 409);
    assert_eq!(license(&staff.vendor, &key).await.max_cameras, 32);
    assert_eq!(staff.add_ons().await["addOns"][0]["state"], "redeemed");
    assert_eq!(staff.refund(&page, &id, "A+mistake").await.0, 303);
    assert_eq!(license(&staff.vendor, &key).await.max_cameras, 16);
    staff.vendor.end().await;
}
