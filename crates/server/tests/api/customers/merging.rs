//! Customers who were recorded twice become one.

use chrono::TimeDelta;
use license_server::licensing::customers::merge;
use license_server::store::licenses::Status;
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{issued, licensed_to, rebuilt};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;
use crate::offers::{longest_features, sell_longest_features};

on_both_engines! {
    a_merge_moves_every_license_and_leaves_a_pointer;
    an_interrupted_merge_is_completed_by_repeating_it;
    a_merge_whose_name_does_not_fit_into_a_license_moves_nothing;
}

async fn a_merge_moves_every_license_and_leaves_a_pointer(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let [plain, revoked, later] = [
        issued(&vendor, "Harbor").await,
        issued(&vendor, "Harbor").await,
        issued(&vendor, "Museum").await,
    ];
    let left = issued(&vendor, "Harbour Ltd").await;
    let amend = async |license: &Value, body: Value| {
        let path = format!("/licenses/{}/amendments", license["id"].as_str().unwrap());
        let (status, answer) = vendor.admin(Method::POST, &path, body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    };
    let at = vendor.clock.now() + TimeDelta::days(1);
    amend(&later, json!({"customer": "harbor", "effectiveAt": at})).await;
    let key = revoked["licenseKey"].as_str().unwrap();
    vendor.set_status(key, Status::Revoked).await;

    let body = json!({"into": "harbour ltd", "dryRun": true});
    let (status, dry) = vendor
        .admin(Method::POST, "/customers/harbor/merge", body)
        .await;
    assert_eq!(status, StatusCode::OK, "{dry}");
    assert_eq!(
        (&dry["stored"], &dry["amended"]),
        (&false.into(), &1.into())
    );
    assert_eq!(dry["notAmended"][0]["licenseId"], revoked["id"]);
    assert_eq!(rebuilt(&vendor, &plain).await.customer, "Harbor");

    let body = json!({"into": "harbour ltd"});
    for (times, amended) in [(1, 1), (2, 0)] {
        let (status, merged) = vendor
            .admin(Method::POST, "/customers/harbor/merge", body.clone())
            .await;
        assert_eq!(status, StatusCode::OK, "{merged}");
        assert_eq!(merged["amended"], amended, "{times}");
        assert_eq!(merged["customer"]["id"], left["customerId"]);
        for license in [&plain, &revoked] {
            let row = rebuilt(&vendor, license).await;
            assert_eq!(row.customer, "Harbour Ltd");
            assert_eq!(row.customer_id.as_deref(), left["customerId"].as_str());
        }
    }
    assert_eq!(licensed_to(&vendor, &plain).await, "Harbour Ltd");
    let path = format!("/licenses/{}/amendments", plain["id"].as_str().unwrap());
    let amendment = vendor.look(&path).await["amendments"][0].take();
    assert_eq!(
        (
            &amendment["number"],
            &amendment["reason"],
            &amendment["author"]
        ),
        (&2.into(), &"merged".into(), &"break-glass".into())
    );
    let log = vendor.audit("?limit=500").await;
    let entry = log.as_array().unwrap().iter();
    let merges: Vec<_> = entry
        .filter(|it| it["action"] == "customer_merged")
        .collect();
    assert_eq!(merges.len(), 1, "{log}");
    assert_eq!(merges[0]["details"]["into"], left["customerId"]);

    // The former name leads to the customer that is left, and a license that comes later, too.
    let new = issued(&vendor, "HARBOR").await;
    assert_eq!(new["customerId"], left["customerId"]);
    vendor.clock.advance(TimeDelta::days(1));
    assert_eq!(licensed_to(&vendor, &later).await, "Harbour Ltd");
    let merged = vendor.look("/customers?merged=true").await;
    assert_eq!(merged["total"], 1);
    assert_eq!(merged["customers"][0]["mergedInto"], left["customerId"]);
    assert_eq!(vendor.look("/customers").await["total"], 2);

    // A chain of merges ends at its last one.
    let body = json!({"into": "museum"});
    let (status, answer) = vendor
        .admin(Method::POST, "/customers/harbour%20ltd/merge", body)
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    for license in [&plain, &revoked, &left, &new] {
        assert_eq!(rebuilt(&vendor, license).await.customer, "Museum");
    }
    assert_eq!(issued(&vendor, "harbor").await["customer"], "Museum");
    for (from, into) in [("harbor", "harbour%20ltd"), ("museum", "harbor")] {
        let body = json!({"into": into.replace("%20", " ")});
        let path = format!("/customers/{from}/merge");
        let (status, answer) = vendor.admin(Method::POST, &path, body).await;
        assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    }
    vendor.end().await;
}

async fn an_interrupted_merge_is_completed_by_repeating_it(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let mut licenses = Vec::new();
    for _ in 0..3 {
        licenses.push(issued(&vendor, "Harbor").await);
    }
    let left = issued(&vendor, "Harbour Ltd").await;
    // The second license cannot be stored.
    let ids = "SELECT id FROM licenses WHERE customer = 'Harbor' ORDER BY id";
    let ids = vendor.database.texts(ids).await;
    let second = ids[1].as_deref().unwrap();
    let hide = format!(
        "CREATE TABLE hidden AS SELECT * FROM amendments WHERE license_id = '{second}'; \
         DELETE FROM amendments WHERE license_id = '{second}'"
    );
    vendor.database.execute(&hide).await;
    let body = json!({"into": "Harbour Ltd"});
    let path = "/customers/harbor/merge";
    let (status, answer) = vendor.admin(Method::POST, path, body.clone()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    let counted = "SELECT CAST(COUNT(*) AS TEXT) FROM licenses WHERE customer = 'Harbor'";
    assert_eq!(vendor.database.texts(counted).await, [Some("2".to_owned())]);
    let back = "INSERT INTO amendments SELECT * FROM hidden";
    vendor.database.execute(back).await;
    let author = vendor.app.author(license_server::audit::Actor::CommandLine);
    let store = &vendor.app.store;
    let merged = merge(store, "harbor", "Harbour Ltd", false, &author).await;
    assert_eq!(merged.unwrap().amended, 2);
    for license in &licenses {
        let row = rebuilt(&vendor, license).await;
        assert_eq!(row.customer_id.as_deref(), left["customerId"].as_str());
        assert_eq!(row.amendment, 2);
    }
    vendor.end().await;
}

async fn a_merge_whose_name_does_not_fit_into_a_license_moves_nothing(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    sell_longest_features(&vendor, 600).await;
    // Each of these characters is six in JSON.
    let long = "\u{1}".repeat(255);
    let longest = issued(&vendor, &long).await;
    let other = issued(&vendor, "Harbor").await;
    let issue = async |count: usize| {
        let body =
            json!({"tier": "standard", "customer": "Harbor", "with": longest_features(count)});
        vendor.admin(Method::POST, "/licenses", body).await
    };
    let mut fits = 0_usize..600;
    while fits.len() > 1 {
        let middle = fits.start.midpoint(fits.end);
        match issue(middle).await.0 {
            StatusCode::CREATED => fits.start = middle,
            _ => fits.end = middle,
        }
    }
    let (_, license) = issue(fits.start).await;
    let path = "/customers/harbor/merge";
    for is_dry_run in [true, false] {
        let body = json!({"into": longest["customerId"], "dryRun": is_dry_run});
        let (status, answer) = vendor.admin(Method::POST, path, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("too long for the license"), "{message}");
    }
    for license in [&license, &other] {
        assert_eq!(rebuilt(&vendor, license).await.customer, "Harbor");
    }
    assert_eq!(vendor.look("/customers?merged=true").await["total"], 0);
    let key = license["licenseKey"].as_str().unwrap();
    let body = json!({"expiresAt": "2030-12-31"});
    let renew = format!("/licenses/{key}/renew");
    let (status, answer) = vendor.admin(Method::POST, &renew, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    vendor.end().await;
}
