//! Answers that were tampered with, on a site that trusts keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use ed25519_dalek::{Signer as _, SigningKey};
use license_core::document::{DocumentType, LicenseClaims, encode};
use license_core::keyring::Jwk;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::Engine;
use crate::harness::{HARDWARE_ID, INSTALLATION_ID, KEY, Site};
use crate::scripted_cloud::{Scripted, ScriptedCloud, usual_license};
use crate::vendor::Vendor;

const PAID: &str = "module.analytics_advanced";

/// A vendor's key, and what is signed with it.
struct Signer {
    key: SigningKey,
    kid: String,
}

impl Signer {
    fn new(seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let kid = Jwk::from_verifying_key(&key.verifying_key()).kid.unwrap();
        Self { key, kid }
    }

    fn key_set(&self, site_directory: &std::path::Path) -> String {
        let set = json!({"keys": [Jwk::from_verifying_key(&self.key.verifying_key())]});
        let file = site_directory.join("keys.json");
        std::fs::write(&file, set.to_string()).unwrap();
        file.display().to_string()
    }

    fn sign(&self, claims: &LicenseClaims) -> String {
        encode(DocumentType::License, &self.kid, claims, |input| {
            self.key.sign(input).to_bytes()
        })
        .unwrap()
    }
}

fn claims(site: &Site, nonce: &str, seq: u64) -> LicenseClaims {
    let mut license = usual_license(KEY);
    license.as_object_mut().unwrap().remove("signature");
    let now = site.now();
    LicenseClaims {
        iss: "test".into(),
        sub: "license-1".into(),
        jti: format!("document-{seq}"),
        iat: now,
        nbf: now,
        exp: now + TimeDelta::hours(96),
        valid_until: now + TimeDelta::hours(24),
        seq,
        nonce: Some(nonce.to_owned()),
        question: None,
        code_hash: None,
        installation_id: INSTALLATION_ID.into(),
        hardware_id: HARDWARE_ID.into(),
        offline: false,
        key_set: None,
        cnf: None,
        license: license.as_object().unwrap().clone(),
    }
}

fn answer(jws: &str) -> Scripted {
    let mut license = usual_license(KEY);
    license["signature"] = jws.into();
    let data = json!({"isValid": true, "license": license, "gracePeriodActive": false});
    Scripted::new(200, json!({"success": true, "data": data}).to_string())
}

/// The signature part replaced, header and payload as given.
fn raw(header: &Value, payload: &str, signature: &[u8]) -> String {
    format!(
        "{}.{payload}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(signature)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_forged_or_replayed_answer_counts() {
    let vendor = Signer::new(7);
    let stranger = Signer::new(8);
    let cloud = ScriptedCloud::start().await;
    let directory = tempfile::tempdir().unwrap();
    let keys = vendor.key_set(directory.path());
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(Engine::Sqlite, &cloud.url, &flags).await;

    // A genuine activation. The nonce is only known when the request has
    // arrived, so the answer is made then.
    cloud.answer_with({
        let signed = vendor_signer(&vendor, &site, 100);
        move |nonce| answer_activation(&signed(nonce))
    });
    assert_eq!(site.activate(KEY).await.0, StatusCode::OK);
    assert_eq!(site.standing().await, "active");

    let genuine = vendor_signer(&vendor, &site, 101);
    let forgeries = [
        forged_documents(&vendor, &stranger, &site),
        changed_claims(&vendor, &site),
    ];
    for (what, reason, forge) in forgeries.into_iter().flatten() {
        cloud.answer_with(move |nonce| answer(&forge(nonce)));
        let answer = site.validate().await;
        assert_eq!(answer["inGracePeriod"], true, "{what}");
        let status = site.status().await;
        assert_eq!(status["lastFailure"]["reason"], reason, "{what}");
        assert!(site.is_available(PAID).await, "{what}");
    }

    cloud.answer_with(move |nonce| answer(&genuine(nonce)));
    assert_eq!(site.validate().await["inGracePeriod"], false);
    assert_eq!(site.standing().await, "active");
    site.end().await;
}

/// What it is, the reason for which it does not count, and the document for a nonce.
type Forgery = (
    &'static str,
    &'static str,
    Box<dyn Fn(&str) -> String + Send>,
);

/// Documents that the vendor has not signed.
fn forged_documents(vendor: &Signer, stranger: &Signer, site: &Site) -> Vec<Forgery> {
    let by_stranger = vendor_signer(stranger, site, 101);
    let typ = DocumentType::License.as_str();
    let kid = vendor.kid.clone();
    let payload = |jws: &str| jws.split('.').nth(1).unwrap().to_owned();
    vec![
        ("an unknown key", "not_genuine", Box::new(by_stranger)),
        ("a wrong signature", "not_genuine", {
            let genuine = vendor_signer(vendor, site, 101);
            Box::new(move |nonce| {
                let jws = genuine(nonce);
                let (input, _) = jws.rsplit_once('.').unwrap();
                format!("{input}.{}", URL_SAFE_NO_PAD.encode([1; 64]))
            })
        }),
        ("alg none", "not_genuine", {
            let genuine = vendor_signer(vendor, site, 101);
            let header = json!({"alg": "none", "kid": kid, "typ": typ});
            Box::new(move |nonce| raw(&header, &payload(&genuine(nonce)), b""))
        }),
        ("alg HS256", "not_genuine", {
            let genuine = vendor_signer(vendor, site, 101);
            let header = json!({"alg": "HS256", "kid": kid, "typ": typ});
            Box::new(move |nonce| raw(&header, &payload(&genuine(nonce)), &[9; 32]))
        }),
        (
            "no document at all",
            "not_genuine",
            Box::new(|_| "x".into()),
        ),
        (
            "no signature",
            "server_does_not_sign",
            Box::new(|_| String::new()),
        ),
    ]
}

/// Documents that the vendor has signed for another request.
fn changed_claims(vendor: &Signer, site: &Site) -> Vec<Forgery> {
    let changed = |change: fn(&mut LicenseClaims)| {
        let base = claims(site, "", 101);
        let key = vendor.key.clone();
        let kid = vendor.kid.clone();
        move |nonce: &str| {
            let mut claims = base.clone();
            claims.nonce = Some(nonce.to_owned());
            change(&mut claims);
            encode(DocumentType::License, &kid, &claims, |i| {
                key.sign(i).to_bytes()
            })
            .unwrap()
        }
    };
    vec![
        (
            "another request's nonce",
            "not_for_us",
            Box::new(changed(|c| {
                c.nonce = Some("AAAA".into());
            })),
        ),
        (
            "no nonce",
            "not_for_us",
            Box::new(changed(|c| c.nonce = None)),
        ),
        (
            "the same sequence number",
            "not_for_us",
            Box::new(changed(|c| c.seq = 100)),
        ),
        (
            "a lower sequence number",
            "not_for_us",
            Box::new(changed(|c| c.seq = 99)),
        ),
        (
            "another installation",
            "not_for_us",
            Box::new(changed(|c| {
                c.installation_id = "another user".into();
            })),
        ),
        (
            "another machine",
            "not_for_us",
            Box::new(changed(|c| {
                c.hardware_id = "something else".into();
            })),
        ),
        (
            "another license key",
            "not_for_us",
            Box::new(changed(|c| {
                c.license.insert("licenseKey".into(), "FXSGHT-OTHER".into());
            })),
        ),
    ]
}

fn answer_activation(jws: &str) -> Scripted {
    let mut license = usual_license(KEY);
    // What stands beside the document is not believed.
    license["maxCameras"] = 1_000_000.into();
    license["signature"] = jws.into();
    let body = json!({"success": true, "data": {"license": license}});
    Scripted::new(200, body.to_string())
}

fn vendor_signer(
    signer: &Signer,
    site: &Site,
    seq: u64,
) -> impl Fn(&str) -> String + Send + 'static + use<> {
    let base = claims(site, "", seq);
    let signer = Signer {
        key: signer.key.clone(),
        kid: signer.kid.clone(),
    };
    move |nonce| {
        let mut claims = base.clone();
        claims.nonce = Some(nonce.to_owned());
        signer.sign(&claims)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_edited_by_hand_changes_nothing() {
    let mut vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = [
        "--license-trusted-keys",
        keys.as_str(),
        "--allow-unlicensed-core-features",
        "false",
    ];
    let mut site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    site.activate(&key).await;
    assert!(!site.is_available(PAID).await);
    let forged = usual_license(&key).to_string();
    let sql = format!(
        "UPDATE local_license_cache SET license_data = '{forged}', valid_until = '2099-01-01T00:00:00'"
    );
    site.database.execute(&sql).await;
    let all = "INSERT INTO local_feature_flags (feature_key, enabled, licensed, system_enabled) \
               VALUES ('module.analytics_advanced', true, true, true)";
    site.database.execute(all).await;
    site.restart().await;
    assert_eq!(site.status().await["tier"], "standard");
    assert!(!site.is_available(PAID).await);

    // The local copy still has what was signed.
    let broken = format!(
        "UPDATE local_license_cache SET license_signature = 'a.b.c', license_data = '{forged}'"
    );
    site.database.execute(&broken).await;
    vendor.go_away().await;
    site.restart().await;
    assert_eq!(site.standing().await, "active");

    // Without it, a signature that is broken is worth nothing, but the license was there: core
    // features stay on regardless of settings, and the next call to the License Server restores
    // the rest. A running service would rewrite the row.
    site.stop().await;
    site.database.execute(&broken).await;
    std::fs::remove_file(site.state_file("local-copy.json")).unwrap();
    site.restart().await;
    assert_eq!(site.standing().await, "lapsed");
    site.until("it is asked immediately", async || {
        site.status().await["lastFailure"]["reason"] == "unreachable"
    })
    .await;
    assert!(!site.is_available("module.map_view").await);
    assert!(site.is_available("module.live_view").await);
    vendor.come_back().await;
    assert_eq!(site.validate().await["valid"], true);
    assert!(site.is_available("module.map_view").await);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_signs_nothing_is_no_contact_for_a_site_that_trusts_keys() {
    let vendor = Signer::new(7);
    let cloud = ScriptedCloud::start().await;
    let directory = tempfile::tempdir().unwrap();
    let keys = vendor.key_set(directory.path());
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(Engine::Sqlite, &cloud.url, &flags).await;
    let mut license = usual_license(KEY);
    license.as_object_mut().unwrap().remove("signature");
    let body = json!({"success": true, "data": {"license": license}});
    cloud.next(Scripted::new(200, body.to_string()));
    let (status, answer) = site.activate(KEY).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains("does not sign"), "{detail}");
    assert_eq!(site.standing().await, "unlicensed");
    site.end().await;
}
