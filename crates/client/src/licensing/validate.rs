//! Ask whether the license is still good, and record the answer.

use chrono::{DateTime, Utc};
use license_core::contact::{self, Contact};
use license_core::evidence::Evidence;
use license_core::license_key;
use license_core::protocol::ValidateRequest;
use license_core::schedule::unsigned_validity;

use crate::app::App;
use crate::licensing::record;
use crate::random;
use crate::store::local_license_validation_attempts::{Attempt, AttemptResult};

/// Validates the license, if there is one. What came of it is in the snapshot
/// afterwards. A caller who had to wait takes the result of a validation that
/// began after this one was asked for, and of no earlier one: that could have
/// failed for a reason that the caller has just removed.
pub async fn validate(app: &App) {
    let begun = app.calls().validations;
    let _turn = app.turn.lock().await;
    if app.calls().validations != begun {
        return;
    }
    let evidence = app.snapshot().evidence.clone();
    if evidence.lease.is_none() {
        app.note_call(|calls| calls.validation_wanted = false);
        return;
    }
    app.note_call(|calls| calls.validations += 1);
    let contact = ask(app, &evidence).await;
    let now = app.clock.now();
    log(&evidence.license_key, &contact);
    record_contact(app, &evidence, &contact, now).await;
    app.note_call(|calls| {
        calls.validated_at = now;
        calls.validation_wanted = false;
        calls.validation_jitter = random::jitter();
        calls.failures = match contact {
            Contact::Confirmed(_) => 0,
            Contact::Denied(_) | Contact::None(_) => calls.failures.saturating_add(1),
        };
    });
}

async fn ask(app: &App, evidence: &Evidence) -> Contact {
    let nonce = random::nonce();
    let request = ValidateRequest {
        license_key: evidence.license_key.clone(),
        hardware_id: app.identity.hardware_id.clone(),
    };
    let reply = app.upstream.validate(&request, &nonce).await;
    let question = app.question(&evidence.license_key, &nonce, evidence);
    contact::validation(&reply, &question, &app.trust)
}

/// An answer that cannot be stored still counts: it is evidence all the same,
/// and the next validation stores its own.
async fn record_contact(app: &App, asked: &Evidence, contact: &Contact, now: DateTime<Utc>) {
    let validity = unsigned_validity(app.validation_interval);
    let change = |current: &Evidence| {
        // Another process may have activated another key in the meantime,
        // about which this answer says nothing.
        if current.license_key == asked.license_key {
            current.validated(contact, now, validity)
        } else {
            current.clone()
        }
    };
    let attempt = attempt(&asked.license_key, contact);
    let snapshot = match record::change(app, Some(attempt), now, change).await {
        Ok(snapshot) => snapshot,
        Err(error) => {
            tracing::error!(%error, "the result of the validation could not be stored");
            app.snapshot().with_evidence(change(asked))
        }
    };
    app.publish(snapshot);
}

fn attempt(license_key: &str, contact: &Contact) -> Attempt {
    let (result, error_message) = match contact {
        Contact::Confirmed(_) => (AttemptResult::Success, None),
        Contact::Denied(denial) => (
            AttemptResult::Denied,
            Some(denial.message().unwrap_or(denial.reason()).to_owned()),
        ),
        Contact::None(why) => (AttemptResult::Offline, Some(why.to_string())),
    };
    Attempt {
        license_key: license_key.to_owned(),
        result,
        error_message,
    }
}

fn log(license_key: &str, contact: &Contact) {
    let license_key = license_key::mask(license_key);
    match contact {
        Contact::Confirmed(_) => tracing::info!(license_key, "the license is confirmed"),
        Contact::Denied(denial) => tracing::warn!(
            license_key,
            reason = denial.reason(),
            message = denial.message(),
            "the License Server denies the license"
        ),
        Contact::None(why) if why.is_suspicious() => tracing::error!(
            security = true,
            license_key,
            reason = why.code(),
            "the license could not be validated: {why}"
        ),
        Contact::None(why) => tracing::warn!(
            license_key,
            reason = why.code(),
            "the license could not be validated: {why}"
        ),
    }
}
