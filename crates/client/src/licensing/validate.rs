//! Ask whether the license is still good, and record the answer.

use chrono::{DateTime, Utc};
use license_core::calls::Calls;
use license_core::contact::Contact;
use license_core::evidence::Evidence;
use license_core::license_key;
use license_core::protocol::ValidateRequest;
use license_core::schedule::unsigned_validity;

use crate::app::App;
use crate::licensing::exchange::exchange;
use crate::licensing::record;
use crate::random;
use crate::snapshot::Snapshot;
use crate::store::local_license_validation_attempts::{Attempt, AttemptResult};

/// Validates the license, if there is one. What came of it is in the snapshot
/// afterwards. A caller who had to wait takes the result of a validation that
/// began after this one was asked for, and of no earlier one: that could have
/// failed for a reason that the caller has just removed.
pub async fn validate(app: &App) {
    let begun = app.calls().validations();
    let _turn = app.turn.lock().await;
    if app.calls().validations() != begun {
        return;
    }
    let evidence = app.snapshot().evidence.clone();
    let (Some(identity), Some(_)) = (app.identity(), &evidence.lease) else {
        app.note_call(Calls::nothing_to_validate);
        app.note_validation_tried();
        return;
    };
    app.note_call(Calls::validation_begun);
    let request = ValidateRequest {
        license_key: evidence.license_key().to_owned(),
        hardware_id: identity.hardware_id.clone(),
    };
    let begun = app.wall_reading();
    let contact = exchange(app, &identity, &request).await;
    app.note_validation_tried();
    let now = app.now_when_tried(begun);
    let snapshot = record_contact(app, &evidence, &contact, now).await;
    let is_confirmed = matches!(contact, Contact::Confirmed(_));
    app.note_call(|calls| calls.validated(is_confirmed, now, random::jitter()));
    record::publish(app, snapshot).await;
    app.note_confirmation_tried(begun);
}

/// An answer that cannot be stored still counts: it is evidence all the same,
/// and is written when the database is back.
async fn record_contact(
    app: &App,
    asked: &Evidence,
    contact: &Contact,
    now: DateTime<Utc>,
) -> Snapshot {
    let validity = unsigned_validity(app.intervals.validation);
    let change = |current: &Evidence| {
        // Another process may have activated another key in the meantime,
        // about which this answer says nothing.
        if license_key::same(current.license_key(), asked.license_key()) {
            current.validated(contact, now, validity)
        } else {
            current.clone()
        }
    };
    let attempt = attempt(asked.license_key(), contact, now);
    let recorded = record::change(app, Some(attempt.clone()), now, change).await;
    recorded.unwrap_or_else(|error| {
        tracing::error!(%error, "failed to store the result of the validation, keeping it until \
            the database is available");
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
