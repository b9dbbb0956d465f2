//! Confirms that a machine may keep using a license, for the length of another lease.

use crate::licensing::held_license::HeldLicense;
use crate::licensing::refusal::Stopped;
use crate::licensing::site_answer::SiteAnswer;

pub(super) async fn validate(held: &mut HeldLicense<'_>) -> Result<SiteAnswer, Stopped> {
    held.check_status()?;
    let seat = held.take_seat().await?;
    Ok(held.sign_lease(seat).await?)
}
