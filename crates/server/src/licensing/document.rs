//! Creates the documents that sites receive.

use chrono::{DateTime, SecondsFormat, SubsecRound as _, TimeDelta, Utc};
use license_core::document::{
    DenialClaims, DenialReason, DocumentType, KeyConfirmation, LicenseClaims, MAX_BYTES,
};
use license_core::entitlement::Entitlement;
use license_core::fleet::Signed;
use license_core::lease_end::lease_end;
use license_core::license_key::fingerprint;
use license_core::protocol::Call;
use license_core::thumbprint::Thumbprint;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::licensing::lease_terms::LeaseTerms;
use crate::signing::SignError;
use crate::store::licenses::License;

/// The recipient of a document.
#[derive(Clone, Debug)]
pub struct Addressee {
    /// The request's nonce.
    pub nonce: Option<String>,
    /// The license key in the call.
    pub license_key: String,
    /// What the call contains instead of the license key: a trial code, or nothing.
    pub sent_key: Option<String>,
    /// The add-on key or the trial code in the call, as it was sent; empty for a trial without a
    /// code. Every document names it.
    pub code: Option<String>,
    /// The installation that calls.
    pub installation_id: String,
    /// The machine that calls.
    pub hardware_id: String,
}

/// The part of every document that describes the call that it answers.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The recipient.
    pub to: &'a Addressee,
    /// The call.
    pub question: Call,
    /// The sequence number.
    pub seq: u64,
    /// When it is signed.
    pub at: DateTime<Utc>,
}

impl Envelope<'_> {
    /// The call that the document names: an activation with a code is a trial.
    fn named(&self) -> Call {
        match (self.question, &self.to.code) {
            (Call::Activate, Some(_)) => Call::Trial,
            (question, _) => question,
        }
    }

    fn code_hash(&self) -> Option<String> {
        self.to.code.as_deref().map(fingerprint)
    }
}

/// How long a lease lasts.
#[derive(Clone, Copy, Debug)]
pub struct LeaseLength {
    /// For a site without internet, the length of the lease, which ends no later than the license.
    pub offline: Option<TimeDelta>,
    /// The last instant at which the entitlements stay what they are, for a site that does not
    /// know entitlements: its lease ends then.
    pub holds_until: Option<DateTime<Utc>>,
    /// The end that the lease and its grace period do not exceed.
    pub not_beyond: Option<DateTime<Utc>>,
}

/// The license object of a response with the signed lease as `signature`, and the end of its
/// validity. `object` is what is signed of the license, and `bound_key` the installation key that is
/// bound to the seat.
///
/// # Errors
/// If nothing can be signed, or the document is longer than sites read.
pub fn signed_license(
    app: &App,
    license: &License,
    mut object: Map<String, Value>,
    envelope: Envelope<'_>,
    length: LeaseLength,
    bound_key: Option<Thumbprint>,
) -> Result<(Map<String, Value>, Signed), SignError> {
    let Envelope { to, seq, at, .. } = envelope;
    let keys = app.keys();
    let offline = length.offline;
    let iat = at.trunc_subsecs(0);
    let terms = LeaseTerms::of(license, &app.terms);
    let valid_until = iat + offline.unwrap_or(terms.lease);
    let valid_until = match license.expires_at {
        Some(end) if offline.is_some() => valid_until.min(end.trunc_subsecs(0)).max(iat),
        _ => valid_until,
    };
    let valid_until = match length.holds_until {
        None => valid_until,
        Some(_) => lease_end(iat, valid_until, length.holds_until, spread()),
    };
    let bounded = |end: DateTime<Utc>| match length.not_beyond {
        Some(bound) => end.min(bound.trunc_subsecs(0)).max(iat),
        None => end,
    };
    let valid_until = bounded(valid_until);
    let claims = LicenseClaims {
        iss: app.terms.issuer.clone(),
        sub: license.id.clone(),
        jti: Uuid::new_v4().to_string(),
        iat,
        nbf: iat,
        exp: bounded(valid_until + terms.grace),
        valid_until,
        seq,
        nonce: to.nonce.clone(),
        question: Some(envelope.named()),
        code_hash: envelope.code_hash(),
        installation_id: to.installation_id.clone(),
        hardware_id: to.hardware_id.clone(),
        offline: offline.is_some(),
        key_set: Some(keys.version()),
        cnf: bound_key.map(|jkt| KeyConfirmation { jkt: Some(jkt) }),
        license: object.clone(),
    };
    let jws = app.sign(DocumentType::License, &claims, at)?;
    if jws.len() > MAX_BYTES {
        let (license, bytes) = (license.id.clone(), jws.len());
        return Err(SignError::TooLong { license, bytes });
    }
    object.insert("signature".to_owned(), jws.into());
    let signed = Signed {
        valid_until,
        exp: claims.exp,
    };
    Ok((object, signed))
}

/// A random number; without randomness, leases are not spread.
fn spread() -> u16 {
    let mut bytes = [0; 2];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u16::from_be_bytes(bytes),
        Err(_) => 0,
    }
}

/// A denial, and the receipt of a deactivation or of an add-on key.
#[derive(Clone, Debug)]
pub struct Denied {
    /// The code of the reason.
    pub reason: DenialReason,
    /// The message for the site's operator.
    pub message: String,
    /// The amendment that an add-on key became.
    pub amendment: Option<u32>,
}

/// A signed denial.
///
/// # Errors
/// If the claims cannot be serialized as JSON, which never happens with ours.
pub fn signed_denial(
    app: &App,
    license: Option<&License>,
    envelope: Envelope<'_>,
    denied: &Denied,
) -> Result<String, SignError> {
    let Envelope { to, seq, at, .. } = envelope;
    let keys = app.keys();
    let claims = DenialClaims {
        iss: app.terms.issuer.clone(),
        sub: license
            .map(|license| license.id.clone())
            .unwrap_or_default(),
        iat: at.trunc_subsecs(0),
        seq,
        nonce: to.nonce.clone(),
        question: Some(envelope.named()),
        code_hash: envelope.code_hash(),
        installation_id: to.installation_id.clone(),
        hardware_id: to.hardware_id.clone(),
        key_set: Some(keys.version()),
        license_key_hash: Some(fingerprint(to.sent_key.as_ref().unwrap_or(&to.license_key))),
        amendment: denied.amendment,
        reason: denied.reason.clone(),
        message: denied.message.clone(),
    };
    app.sign(DocumentType::Denial, &claims, at)
}

/// What responses and documents say about a license.
pub(super) fn license_object(license: &License) -> Map<String, Value> {
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let object = json!({
        "id": license.id,
        "licenseKey": license.license_key,
        "customer": license.customer,
        "tier": license.tier,
        "plan": license.plan,
        "amendment": license.amendment,
        "status": license.status,
        "expiresAt": license.expires_at.map(time),
        "maxCameras": license.max_cameras,
        "maxUsers": license.max_users,
        "maxStorageGb": license.max_storage_gb,
        "seats": license.seats,
        "enabledFeatures": license.features,
        "issuedAt": time(license.created_at),
    });
    let mut object = match object {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    if let Some(until) = license.updates_until {
        object.insert("updatesUntil".to_owned(), time(until).into());
        object.insert("updates".to_owned(), license.updates.as_str().into());
    }
    object
}

/// Adds the list of entitlements.
pub(super) fn with_entitlements(object: &mut Map<String, Value>, listed: &[Entitlement]) {
    let listed: Vec<Value> = listed.iter().map(Entitlement::to_json).collect();
    object.insert("entitlements".to_owned(), listed.into());
}
