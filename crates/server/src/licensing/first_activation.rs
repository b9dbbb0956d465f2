//! The end of a license that lasts for some time from its first activation on.

use chrono::{DateTime, SubsecRound as _, Utc};
use license_core::amendment::{Amendment, contents, judged_at};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::app::App;
use crate::audit::{Action, Actor, Change};
use crate::licensing::amend::store_newest;
use crate::licensing::current::amendments_at;
use crate::licensing::site_answer::AnswerError;
use crate::signing::SignError;
use crate::store::licenses::{self, License};

/// The reason of the amendment.
const REASON: &str = "first activation";

/// Sets the end of a license that is locked and is being activated for the first time, by an amendment
/// in the same transaction. Returns the license with it and, unless it is plain, its amendments; `None`
/// if nothing is to be set.
///
/// No rule keeps the end from being set: what an activation leads to was checked with each amendment
/// when that was recorded. If no document can be signed nevertheless, nothing is activated: a lease
/// without the end would not be the one that was sold.
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
        // The row was outdated.
        let license = licenses::amended(db, license.clone(), &known, change.at).await?;
        return Ok(Some((license, known)));
    };
    let amendment = Amendment {
        number: known.last().map_or(0, |it| it.number) + 1,
        author: change.by.to_string(),
        reason: Some(REASON.to_owned()),
        order: None,
        recorded_at: now.trunc_subsecs(0),
        effective_at: now.trunc_subsecs(0),
        undoes: None,
        changes: vec![end],
    };
    let mut all = known;
    all.push(amendment.clone());
    let judged = licenses::judged(db, license.clone(), &all, at).await?;
    let license = store_newest(db, judged.changed(), &amendment).await?;
    let details = json!({
        "amendment": license.amendment,
        "reason": REASON,
        "expiresAt": license.expires_at,
    });
    change.note(db, Action::Amended, &license, details).await?;
    let all = if license.is_plain { Vec::new() } else { all };
    Ok(Some((license, all)))
}
