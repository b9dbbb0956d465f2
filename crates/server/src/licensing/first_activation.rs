//! The end of a license that lasts for some time from its first activation on.

use chrono::{DateTime, Utc};
use license_core::amendment::{Amendment, contents};
use license_core::license_key::mask;
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::app::App;
use crate::audit::{Action, Actor, Change};
use crate::licensing::amend::{AmendError, AmendRequest, record};
use crate::licensing::current::amendments_at;
use crate::licensing::site_answer::AnswerError;
use crate::signing::SignError;
use crate::store::licenses::{License, judged_at};

/// Sets the end of a license that is locked and is being activated for the first time, by an amendment
/// in the same transaction. Returns the license with it and, unless it is plain, its amendments; `None`
/// if nothing is to be set.
///
/// A rule that forbids another amendment does not keep a machine from being activated: then the next
/// activation sets the end.
///
/// # Errors
/// If the clock may be wrong, or the database returns an error.
pub(super) async fn first_activated(
    app: &App,
    db: &impl ConnectionTrait,
    license: &License,
    now: DateTime<Utc>,
) -> Result<Option<(License, Vec<Amendment>)>, AnswerError> {
    if license.lasts_from_activation.is_none() {
        return Ok(None);
    }
    let at = app.signing_clock.permit(now).map_err(SignError::from)?;
    let change = Change {
        by: Actor::Service,
        at: at.instant(),
    };
    let known = amendments_at(db, &license.id, change.at).await?;
    let now = judged_at(&known, change.at);
    let Some(end) = contents(&known, now).first_activated(now) else {
        return Ok(None);
    };
    let request = AmendRequest {
        reason: Some("first activation".to_owned()),
        ..AmendRequest::default()
    };
    let amended = async {
        let amendment = Amendment {
            changes: vec![end],
            ..request.without_changes(&known, &change)?
        };
        record(db, license.clone(), &known, &amendment, at).await
    };
    let (license, all) = match amended.await {
        Ok(amended) => amended,
        Err(AmendError::Store(error)) => return Err(error.into()),
        Err(error) => {
            let license_key = mask(&license.license_key);
            tracing::error!(license_key, %error, "failed to set the end of a license at its first \
                activation");
            return Ok(None);
        }
    };
    let details = json!({
        "amendment": license.amendment,
        "reason": request.reason,
        "expiresAt": license.expires_at,
    });
    change.note(db, Action::Amended, &license, details).await?;
    let all = if license.is_plain { Vec::new() } else { all };
    Ok(Some((license, all)))
}
