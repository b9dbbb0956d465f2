//! Gives a machine a seat of a license. A machine that already has one keeps it.

use license_core::protocol::ActivateRequest;

use crate::licensing::held_license::HeldLicense;
use crate::licensing::refusal::Stopped;
use crate::licensing::site_answer::SiteAnswer;

pub(super) async fn activate(
    held: &mut HeldLicense<'_>,
    request: &ActivateRequest,
) -> Result<SiteAnswer, Stopped> {
    held.check_status()?;
    let mut seat = held.take_seat().await?;
    seat.last_activated_at = held.now;
    seat.installation_name
        .clone_from(&request.installation_name);
    seat.installation_version
        .clone_from(&request.installation_version);
    Ok(held.sign_lease(seat).await?)
}
