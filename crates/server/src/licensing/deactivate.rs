//! Takes a machine's seat back at its request. A seat may be given back regardless of the license's
//! status.

use license_core::document::DenialReason;
use serde_json::json;

use crate::audit::Action;
use crate::licensing::document::Denied;
use crate::licensing::held_license::HeldLicense;
use crate::licensing::refusal::Stopped;
use crate::licensing::site_answer::SiteAnswer;

pub(super) async fn deactivate(held: &mut HeldLicense<'_>) -> Result<SiteAnswer, Stopped> {
    let mut seat = held.take_seat().await?;
    seat.freed_at = Some(held.now);
    let details = json!({"installation": seat.installation_name});
    held.log(Action::SeatGivenBack, details).await?;
    let receipt = Denied {
        reason: DenialReason::Deactivated,
        message: "The license was deactivated on this machine".to_owned(),
        amendment: None,
    };
    let receipt = held.sign_receipt(seat, &receipt).await?;
    Ok(SiteAnswer::Deactivated { receipt })
}
