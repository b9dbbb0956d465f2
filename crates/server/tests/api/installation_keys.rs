//! Calls that prove the installation key of their seat, and those that do not.

mod attacks;
mod files;
mod moves;
mod rule;

use std::sync::atomic::{AtomicU32, Ordering};

use license_core::document::verify_license;
use license_core::installation_key::InstallationKey;
use license_core::proof::{CallAddress, Statement, create};
use license_core::thumbprint::Thumbprint;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION, Vendor, system_info};

on_both_engines! {
    a_new_seat_is_bound_to_the_key_and_leases_name_it;
    a_site_that_gets_a_key_later_is_bound_when_it_presents_its_license;
    a_site_that_was_restored_proves_itself_with_the_newest_number;
}

/// A site, as far as the License Server sees it.
struct Site {
    key: InstallationKey,
    license_key: String,
    machine: String,
    seq: Option<u64>,
    document: Option<String>,
}

/// A call, ready to be sent any number of times.
#[derive(Clone)]
struct Prepared {
    path: &'static str,
    nonce: String,
    body: Vec<u8>,
    seq: Option<u64>,
    proof: Option<String>,
}

/// What is answered: the status, the number that another proof must name, and the body.
type Answered = (StatusCode, Option<u64>, Value);

static NONCES: AtomicU32 = AtomicU32::new(0);

impl Prepared {
    async fn send(&self, vendor: &Vendor) -> Answered {
        let url = format!("{}/api/licenses/{}", vendor.url, self.path);
        let mut post = vendor.http.post(url);
        post = post.header("x-installation-id", INSTALLATION);
        post = post.header("x-license-nonce", &self.nonce);
        if let Some(seq) = self.seq {
            post = post.header("x-license-seq", seq);
        }
        if let Some(proof) = &self.proof {
            post = post.header("dpop", proof);
        }
        let response = post.body(self.body.clone()).send().await.unwrap();
        let newest = response.headers().get("x-license-seq");
        let newest = newest.map(|it| it.to_str().unwrap().parse().unwrap());
        (response.status(), newest, response.json().await.unwrap())
    }
}

impl Site {
    fn new(seed: u8, license_key: &str, machine: &str) -> Self {
        Self {
            key: InstallationKey::from_seed(&[seed; 32]),
            license_key: license_key.to_owned(),
            machine: machine.to_owned(),
            seq: None,
            document: None,
        }
    }

    fn body(&self, path: &str) -> Value {
        let mut body = json!({"licenseKey": self.license_key, "hardwareId": self.machine});
        let more = match path {
            "activate" => json!({
                "installationId": INSTALLATION,
                "installationName": "Test",
                "installationVersion": "1.0.0",
            }),
            "heartbeat" => json!({
                "installationId": INSTALLATION,
                "usageMetrics": {"camerasInUse": 3, "usersActive": 2, "storageUsedGb": 1},
                "systemInfo": system_info(),
            }),
            _ => json!({}),
        };
        let members = body.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        body
    }

    /// A call without a proof.
    fn unproven(&self, path: &'static str) -> Prepared {
        let number = NONCES.fetch_add(1, Ordering::Relaxed);
        Prepared {
            path,
            nonce: format!("{number:043}"),
            body: self.body(path).to_string().into_bytes(),
            seq: self.seq,
            proof: None,
        }
    }

    /// A call with a proof.
    fn proven(&self, vendor: &Vendor, path: &'static str) -> Prepared {
        self.proven_with(&format!("{}/api/licenses/{path}", vendor.url), path, None)
    }

    fn proven_with(&self, url: &str, path: &'static str, challenge: Option<u64>) -> Prepared {
        let mut call = self.unproven(path);
        let statement = Statement {
            at_address: CallAddress::Http {
                method: "POST",
                url,
            },
            body: &call.body,
            nonce: &call.nonce,
            seq: self.seq,
            document: self.document.as_deref(),
            challenge,
            at: "2001-01-01T00:00:00Z".parse().unwrap(),
        };
        call.proof = Some(create(&self.key, &statement));
        call
    }

    /// Makes a call with a proof, and another one if that is asked for; keeps its lease.
    async fn ask(&mut self, vendor: &Vendor, path: &'static str) -> Answered {
        let mut answered = self.proven(vendor, path).send(vendor).await;
        if answered.1.is_some() {
            let url = format!("{}/api/licenses/{path}", vendor.url);
            let again = self.proven_with(&url, path, answered.1);
            answered = again.send(vendor).await;
        }
        self.keep(vendor, &answered);
        answered
    }

    /// Keeps the lease of an answer; returns the key that it names.
    fn keep(&mut self, vendor: &Vendor, answered: &Answered) -> Option<Thumbprint> {
        let jws = answered.2["data"]["license"]["signature"].as_str()?;
        let document = verify_license(jws, &vendor.keyring()).unwrap();
        self.seq = Some(document.claims().seq);
        self.document = Some(jws.to_owned());
        document.claims().bound_key()
    }

    /// The key that is bound to the seat.
    async fn bound(&self, vendor: &Vendor) -> Option<Thumbprint> {
        let seat = vendor.seat(&self.license_key, &self.machine).await?;
        seat.bound_key.map(|bound| bound.jkt())
    }
}

/// A license with one seat, and its site, which has activated it with a proof.
async fn bound(engine: Engine) -> (Vendor, Site) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let mut site = Site::new(1, &key, "machine");
    let (status, _, answer) = site.ask(&vendor, "activate").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(site.bound(&vendor).await, Some(site.key.thumbprint()));
    (vendor, site)
}

fn code(answered: &Answered) -> (u16, &str) {
    let code = answered.2["error"]["code"].as_str();
    (answered.0.as_u16(), code.unwrap_or_default())
}

/// The entries of the audit log with this action.
async fn entries(vendor: &Vendor, action: &str) -> Vec<Value> {
    let all = vendor.audit("").await;
    let all = all.as_array().unwrap().iter();
    all.filter(|entry| entry["action"] == action)
        .cloned()
        .collect()
}

/// The kinds of suspicions about the license.
async fn suspicions(vendor: &Vendor) -> Vec<Value> {
    let kinds = vendor.database.texts("SELECT kind FROM suspicions").await;
    kinds.into_iter().map(|kind| json!(kind)).collect()
}

async fn a_new_seat_is_bound_to_the_key_and_leases_name_it(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let mut site = Site::new(1, &key, "machine");
    let thumbprint = Some(site.key.thumbprint());
    let answered = site.ask(&vendor, "activate").await;
    assert_eq!(site.keep(&vendor, &answered), thumbprint);
    for path in ["validate", "heartbeat", "validate", "heartbeat", "activate"] {
        let answered = site.ask(&vendor, path).await;
        assert_eq!(answered.0, StatusCode::OK, "{path}: {answered:?}");
        assert_eq!(site.bound(&vendor).await, thumbprint);
    }
    // More calls with one number than nonces are kept.
    for _ in 0..70 {
        vendor.clock.advance(chrono::TimeDelta::minutes(1));
        let answered = site.ask(&vendor, "heartbeat").await;
        assert_eq!(answered.0, StatusCode::OK, "{answered:?}");
    }
    let seats = vendor.look(&format!("/licenses/{key}/seats")).await;
    assert_eq!(
        seats["seats"][0]["installationKey"],
        site.key.thumbprint().to_string()
    );
    let answered = site.ask(&vendor, "deactivate").await;
    assert_eq!(answered.2["data"]["deactivated"], true, "{answered:?}");
    assert!(suspicions(&vendor).await.is_empty());
    vendor.end().await;
}

async fn a_site_that_gets_a_key_later_is_bound_when_it_presents_its_license(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let mut site = Site::new(1, &key, "machine");
    let answered = site.unproven("activate").send(&vendor).await;
    assert_eq!(site.keep(&vendor, &answered), None);
    // Someone who knows the license key and the hardware id has not the newest license.
    for document in [None, Some("eyJ.e30.AA".to_owned())] {
        let mut stranger = Site::new(2, &key, "machine");
        stranger.document = document;
        let answered = stranger.proven(&vendor, "heartbeat").send(&vendor).await;
        assert_eq!(answered.0, StatusCode::OK, "{answered:?}");
        assert_eq!(site.bound(&vendor).await, None);
    }
    let answered = site.proven(&vendor, "validate").send(&vendor).await;
    assert_eq!(site.keep(&vendor, &answered), Some(site.key.thumbprint()));
    // An older License Client of the site is answered for as long as its license may still be valid.
    vendor.clock.advance(chrono::TimeDelta::hours(20));
    let answered = site.unproven("validate").send(&vendor).await;
    assert_eq!(answered.0, StatusCode::OK, "{answered:?}");
    assert_eq!(site.bound(&vendor).await, Some(site.key.thumbprint()));
    vendor.end().await;
}

async fn a_site_that_was_restored_proves_itself_with_the_newest_number(engine: Engine) {
    let (vendor, mut site) = bound(engine).await;
    let (seq, document) = (site.seq, site.document.clone());
    for _ in 0..3 {
        vendor.clock.advance(chrono::TimeDelta::hours(12));
        assert_eq!(site.ask(&vendor, "validate").await.0, StatusCode::OK);
    }
    (site.seq, site.document) = (seq, document);
    let answered = site.proven(&vendor, "validate").send(&vendor).await;
    assert_eq!(code(&answered), (401, "proof_outdated"));
    let url = format!("{}/api/licenses/validate", vendor.url);
    let again = site.proven_with(&url, "validate", answered.1);
    let answered = again.send(&vendor).await;
    assert_eq!(answered.0, StatusCode::OK, "{answered:?}");
    vendor.end().await;
}
