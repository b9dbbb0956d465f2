//! Validate the license, and record the result.

use chrono::{DateTime, Utc};
use license_core::evidence::Evidence;
use license_core::license_key;
use license_core::protocol::ValidateRequest;
use license_core::response::Contact;
use license_core::schedule::calls::Calls;
use license_core::schedule::unsigned_validity;

use crate::app::App;
use crate::licensing::exchange::exchange;
use crate::random;
use crate::store::local_license_validation_attempts::{Attempt, AttemptResult};

/// Validates the license, if there is one. The snapshot then contains the result. A caller who had
/// to wait gets the result of a validation that began after this one was requested, never of an
/// earlier one, which may have failed for a reason that the caller has just fixed.
pub async fn validate(app: &App) {
    let earlier = app.knowledge.calls().validations();
    let turn = app.knowledge.turn().await;
    if app.knowledge.calls().validations() != earlier {
        return;
    }
    let asked = app.snapshot().evidence.clone();
    let (Some(identity), Some(_)) = (app.identity(), &asked.lease) else {
        app.knowledge.note_call(Calls::nothing_to_validate);
        app.knowledge.note_validation_tried();
        return;
    };
    app.knowledge.note_call(Calls::validation_begun);
    let request = ValidateRequest {
        license_key: asked.license_key().to_owned(),
        hardware_id: identity.hardware_id.clone(),
    };
    let begun = app.time.wall_reading();
    let contact = exchange(app, &identity, &request).await;
    app.knowledge.note_validation_tried();
    let now = app.time.now_when_tried(begun);
    let validity = unsigned_validity(app.intervals.validation);
    let evidence = |current: &Evidence| {
        // Another process may have activated another key in the meantime, about which this response
        // says nothing.
        if license_key::same(current.license_key(), asked.license_key()) {
            current.validated(&contact, now, validity)
        } else {
            current.clone()
        }
    };
    let is_confirmed = matches!(contact, Contact::Confirmed(_));
    let calls = |calls: &mut Calls| calls.validated(is_confirmed, now, random::jitter());
    let attempt = attempt(asked.license_key(), &contact, now);
    turn.change_even_unstored(attempt, now, evidence, calls)
        .await;
    app.knowledge.note_confirmation_tried(begun);
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
