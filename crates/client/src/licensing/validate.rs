//! Ask whether the license is still good, and record the answer.

use chrono::{DateTime, Utc};
use license_core::contact::{self, Contact, Reply, Trust};
use license_core::evidence::Evidence;
use license_core::license_key;
use license_core::protocol::ValidateRequest;
use license_core::schedule::unsigned_validity;

use crate::app::App;
use crate::identity::Identity;
use crate::licensing::catch_up::judged;
use crate::licensing::record;
use crate::metrics::Call;
use crate::random;
use crate::snapshot::Snapshot;
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
    let (Some(identity), Some(_)) = (app.identity(), &evidence.lease) else {
        app.note_call(|calls| calls.validation_wanted = false);
        return;
    };
    app.note_call(|calls| calls.validations += 1);
    let contact = ask(app, &identity, &evidence).await;
    app.metrics.contacted(Call::Validate, &contact);
    let now = app.clock.now();
    log(&evidence.license_key, &contact);
    let snapshot = record_contact(app, &evidence, &contact, now).await;
    app.note_call(|calls| {
        calls.validated_at = now;
        calls.validation_wanted = false;
        calls.validation_jitter = random::jitter();
        calls.failures = match contact {
            Contact::Confirmed(_) => 0,
            Contact::Denied(_) | Contact::None(_) => calls.failures.saturating_add(1),
        };
    });
    record::publish(app, snapshot).await;
}

async fn ask(app: &App, identity: &Identity, evidence: &Evidence) -> Contact {
    let sent = app.clock.running();
    let nonce = random::nonce();
    let request = ValidateRequest {
        license_key: evidence.license_key.clone(),
        hardware_id: identity.hardware_id.clone(),
    };
    let sender = app.sender(identity);
    let reply = app.upstream.validate(&sender, &request, &nonce).await;
    let question = App::question(identity, &evidence.license_key, &nonce, evidence);
    let judge = |reply: &Reply, trust: &Trust| contact::validation(reply, &question, trust);
    judged(app, &reply, sent, judge).await
}

/// An answer that cannot be stored still counts: it is evidence all the same,
/// and is written when the database is back.
async fn record_contact(
    app: &App,
    asked: &Evidence,
    contact: &Contact,
    now: DateTime<Utc>,
) -> Snapshot {
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
    let attempt = attempt(&asked.license_key, contact, now);
    let recorded = record::change(app, Some(attempt.clone()), now, change).await;
    recorded.unwrap_or_else(|error| {
        tracing::error!(%error, "the result of the validation could not be stored; it is kept until the database takes it");
        app.note_unwritten(|unwritten| {
            unwritten.evidence = true;
            unwritten.attempts.push(attempt);
        });
        app.snapshot().with_evidence(change(asked))
    })
}

fn attempt(license_key: &str, contact: &Contact, at: DateTime<Utc>) -> Attempt {
    let (result, error_message) = match contact {
        Contact::Confirmed(_) => (AttemptResult::Success, None),
        Contact::Denied(denial) => (
            AttemptResult::Denied,
            Some(denial.message().unwrap_or(denial.reason()).to_owned()),
        ),
        Contact::None(why) => (AttemptResult::Offline, Some(why.to_string())),
    };
    Attempt {
        at,
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
