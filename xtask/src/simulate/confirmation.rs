//! A signed confirmation of the License Server.
//!
//! To sign one for each of a billion validations would take days. One document serves all of them:
//! a site's evidence counts its time from when this document was signed.

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{Signer as _, SigningKey};
use license_core::document::{DocumentType, LicenseClaims, encode, verify_license};
use license_core::evidence::Evidence;
use license_core::keyring::{Jwk, JwkSet, Keyring};
use license_core::lease::Lease;
use license_core::protocol::{Call, ValidateRequest};
use license_core::response::{Contact, Question, Reply, Request as _, Trust};
use license_core::schedule::unsigned_validity;
use serde_json::{Map, json};

/// Default of the License Server's `LEASE_HOURS`.
const LEASE: TimeDelta = TimeDelta::hours(24);
/// Default of the License Server's `GRACE_HOURS`, and of the License Client's
/// `OFFLINE_GRACE_PERIOD_HOURS`.
pub(super) const GRACE: TimeDelta = TimeDelta::hours(72);

const LICENSE_KEY: &str = "FXSGHT-AAAA-BBBB-CCCC-DDDD";
const INSTALLATION_ID: &str = "installation";
const HARDWARE_ID: &str = "machine";
const NONCE: &str = "nonce";

/// A confirmation, and what a site knows after it.
pub(super) struct Confirmation {
    /// When its document was signed.
    pub(super) signed_at: DateTime<Utc>,
    /// The evidence of a site whose validation was confirmed at that time.
    pub(super) evidence: Evidence,
}

impl Confirmation {
    /// Signs a document at `signed_at`, in whole seconds, and reads the response that contains it
    /// as a License Client does.
    pub(super) fn signed_at(signed_at: DateTime<Utc>) -> Result<Self> {
        let key = SigningKey::from_bytes(&[7; 32]);
        let jwk = Jwk::from_verifying_key(&key.verifying_key());
        let kid = jwk.kid.clone().context("a key without an id")?;
        let keyring = Keyring::from_jwk_set(&JwkSet {
            keys: vec![jwk],
            ..JwkSet::default()
        })?;
        let sign = |input: &[u8]| key.sign(input).to_bytes();
        let jws = encode(DocumentType::License, &kid, &claims(signed_at), sign)?;
        let lease = Lease::Signed(Box::new(verify_license(&jws, &keyring)?));
        let license = json!({"licenseKey": LICENSE_KEY, "signature": jws});
        let body = json!({"success": true, "data": {"isValid": true, "license": license}});
        let question = Question {
            nonce: NONCE,
            license_key: LICENSE_KEY,
            installation_id: INSTALLATION_ID,
            hardware_id: HARDWARE_ID,
            code_hash: None,
            newest_seq: None,
        };
        let reply = Reply::of(200, serde_json::to_vec(&body)?, None);
        let contact = ValidateRequest::judge(&reply, &question, &Trust::Keys(keyring));
        if !matches!(contact, Contact::Confirmed(_)) {
            bail!("the confirmation was not accepted: {contact:?}");
        }
        let activated = Evidence::default().activated(lease, signed_at);
        Ok(Self {
            signed_at,
            evidence: activated.validated(&contact, signed_at, unsigned_validity(LEASE)),
        })
    }
}

fn claims(signed_at: DateTime<Utc>) -> LicenseClaims {
    LicenseClaims {
        iss: "https://licenses.example".to_owned(),
        sub: "license".to_owned(),
        jti: "document".to_owned(),
        iat: signed_at,
        nbf: signed_at,
        valid_until: signed_at + LEASE,
        exp: signed_at + LEASE + GRACE,
        seq: 1,
        nonce: Some(NONCE.to_owned()),
        question: Some(Call::Validate),
        code_hash: None,
        installation_id: INSTALLATION_ID.to_owned(),
        hardware_id: HARDWARE_ID.to_owned(),
        offline: false,
        key_set: None,
        cnf: None,
        license: Map::from_iter([("licenseKey".to_owned(), json!(LICENSE_KEY))]),
    }
}
