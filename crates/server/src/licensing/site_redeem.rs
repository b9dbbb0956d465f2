//! Redeems an add-on key for the license of a machine that holds one of its seats.

use chrono::{DateTime, Utc};
use license_core::document::DenialReason;
use license_core::issued_code::{CodeKind, IssuedCode};
use license_service::turns::Turn;

use crate::app::App;
use crate::audit::{Actor, PermittedChange};
use crate::licensing::document::Denied;
use crate::licensing::held_license::HeldLicense;
use crate::licensing::redeem::{RedeemError, Redeeming};
use crate::licensing::refusal::Stopped;
use crate::licensing::site_answer::{AnswerError, SiteAnswer};
use crate::licensing::site_question::CallDetails;
use crate::signing::SignError;
use crate::store::licenses::License;
use crate::store::seats::Seat;

/// An add-on key that a site redeems, as it was checked before the license was locked.
pub(super) struct SiteRedeeming {
    pub(super) redeeming: Result<Redeeming, RedeemError>,
    pub(super) change: PermittedChange,
}

impl SiteRedeeming {
    /// Checks the key. Returns the license's current row, to be locked, and a turn to amend it, to be
    /// kept until the answer is stored.
    ///
    /// # Errors
    /// If the clock may be wrong, or the database returns an error. A key that may not be redeemed is
    /// refused when the license is locked.
    pub(super) async fn prepare(
        app: &App,
        known: License,
        key: &str,
        details: &CallDetails,
        now: DateTime<Utc>,
    ) -> Result<(Box<Self>, License, Turn), AnswerError> {
        let by = match &details.offline {
            Some(file) => file.by.clone(),
            None => Actor::Site,
        };
        let time = app.signing_clock.permit(now).map_err(SignError::from)?;
        let change = PermittedChange::new(by, time);
        let (turn, license) = app.store.turn_to_amend(known).await?;
        let redeeming = match IssuedCode::parse(CodeKind::AddOn, key) {
            Ok(key) => Redeeming::prepare(&app.store, license.clone(), &key, &change).await,
            Err(error) => Err(error.into()),
        };
        let prepared = Self { redeeming, change };
        Ok((Box::new(prepared), license, turn))
    }
}

/// Answers with a receipt: the site gets what the key grants with its next lease.
pub(super) async fn redeem(
    held: &mut HeldLicense<'_>,
    prepared: Box<SiteRedeeming>,
) -> Result<SiteAnswer, Stopped> {
    let (seat, amendment) = take(held, prepared).await?;
    let receipt = Denied {
        reason: DenialReason::Redeemed,
        message: format!("The add-on key was redeemed as amendment {amendment} of the license"),
        amendment: Some(amendment),
    };
    let receipt = held.sign_receipt(seat, &receipt).await?;
    Ok(SiteAnswer::Redeemed { amendment, receipt })
}

/// Answers with a lease.
pub(super) async fn redeem_by_file(
    held: &mut HeldLicense<'_>,
    prepared: Box<SiteRedeeming>,
) -> Result<SiteAnswer, Stopped> {
    let (seat, _) = take(held, prepared).await?;
    Ok(held.sign_lease(seat).await?)
}

/// Amends the license; returns the machine's seat and the number of the amendment.
async fn take(
    held: &mut HeldLicense<'_>,
    prepared: Box<SiteRedeeming>,
) -> Result<(Seat, u32), Stopped> {
    held.check_status()?;
    let seat = held.find_seat().await?;
    // Before the first activation may set the end: the key was checked without that.
    match held.redeem(*prepared).await {
        Ok(amendment) => Ok((held.use_seat(seat).await?, amendment)),
        Err(Stopped::Refused(refused)) => {
            held.return_seat(seat);
            Err(refused.into())
        }
        Err(failed) => Err(failed),
    }
}
