//! Redeems an add-on key for the license of a machine that holds one of its seats.

use license_core::document::DenialReason;
use license_core::issued_code::{CodeKind, IssuedCode};

use crate::licensing::document::Denied;
use crate::licensing::held_license::HeldLicense;
use crate::licensing::refusal::{Refused, Stopped};
use crate::licensing::site_answer::SiteAnswer;
use crate::store::seats::Seat;

/// Answers with a receipt: the site gets what the key grants with its next lease.
pub(super) async fn redeem(held: &mut HeldLicense<'_>, key: &str) -> Result<SiteAnswer, Stopped> {
    let (seat, amendment) = take(held, key).await?;
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
    key: &str,
) -> Result<SiteAnswer, Stopped> {
    let (seat, _) = take(held, key).await?;
    Ok(held.sign_lease(seat).await?)
}

/// Amends the license; returns the machine's seat and the number of the amendment.
async fn take(held: &mut HeldLicense<'_>, key: &str) -> Result<(Seat, u32), Stopped> {
    held.check_status()?;
    let seat = held.take_seat().await?;
    let key = IssuedCode::parse(CodeKind::AddOn, key)
        .map_err(|error| Refused::malformed_add_on(&error))?;
    match held.redeem(&key).await {
        Ok(amendment) => Ok((seat, amendment)),
        Err(Stopped::Refused(refused)) => {
            held.return_seat(seat);
            Err(refused.into())
        }
        Err(failed) => Err(failed),
    }
}
