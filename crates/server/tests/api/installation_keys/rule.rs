//! Licenses whose calls must prove an installation key.

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Site, code, entries};
use crate::commands::{run, said};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    staff_require_proofs_for_a_license;
}

async fn staff_require_proofs_for_a_license(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let old = Site::new(1, &key, "machine");
    let answered = old.unproven("activate").send(&vendor).await;
    assert_eq!(answered.2["success"], true);
    let path = format!("/licenses/{key}/proof");
    for body in [
        json!({}),
        json!({"required": 1}),
        json!({"required": true, "x": 1}),
    ] {
        let (status, _) = vendor.admin(Method::POST, &path, body).await;
        assert!([400, 422].contains(&status.as_u16()), "{status}");
    }
    let (status, license) = vendor
        .admin(Method::POST, &path, json!({"required": true}))
        .await;
    assert_eq!(
        (status, &license["requiresProof"]),
        (StatusCode::OK, &json!(true))
    );
    for path in ["validate", "heartbeat", "deactivate"] {
        let answered = old.unproven(path).send(&vendor).await;
        assert_eq!(code(&answered), (401, "unproven"), "{path}");
    }
    let answered = old.unproven("activate").send(&vendor).await;
    assert_eq!(answered.0, StatusCode::OK);
    assert_eq!(code(&answered).1, "unproven");
    let mut updated = Site::new(2, &key, "machine");
    assert_eq!(updated.ask(&vendor, "activate").await.0, StatusCode::OK);
    assert_eq!(updated.ask(&vendor, "validate").await.0, StatusCode::OK);
    let off = run(&vendor, &["require-proof", &key, "--off"]).await;
    assert!(off.status.success(), "{}", said(&off));
    let license = vendor.look(&format!("/licenses/{key}")).await;
    assert_eq!(license["license"]["requiresProof"], false, "{license}");
    assert_eq!(entries(&vendor, "proof_rule_changed").await.len(), 2);
    vendor.end().await;
}
