//! Record what a machine reports, and confirm that it may keep using the license. Only an activation
//! or a validation gives it a lease.

use license_core::protocol::{HeartbeatRequest, SystemInfo};

use crate::licensing::held_license::HeldLicense;
use crate::licensing::refusal::Stopped;
use crate::licensing::site_answer::SiteAnswer;
use crate::store::installations::usage_json;
use crate::store::usage_days;

/// Maximum length of each text about a site's system that is stored.
const MAX_SYSTEM_TEXT_CHARS: usize = 255;

pub(super) async fn heartbeat(
    held: &mut HeldLicense<'_>,
    request: &HeartbeatRequest,
) -> Result<SiteAnswer, Stopped> {
    held.check_status()?;
    let mut seat = held.take_seat().await?;
    seat.usage = Some(usage_json(&request.usage));
    seat.system_info = serde_json::to_value(shortened(&request.system_info)).ok();
    let (db, day) = (&held.transaction, held.now.date_naive());
    let usage = &request.usage;
    usage_days::note(db, &seat.license_id, &seat.hardware_id, day, usage).await?;
    Ok(held.confirm_unsigned(seat).await?)
}

/// A site's system, with texts no longer than [`MAX_SYSTEM_TEXT_CHARS`].
fn shortened(system: &SystemInfo) -> SystemInfo {
    let text = |text: &str| text.chars().take(MAX_SYSTEM_TEXT_CHARS).collect();
    SystemInfo {
        os_platform: text(&system.os_platform),
        os_release: text(&system.os_release),
        os_version: text(&system.os_version),
        cpu_count: system.cpu_count,
        total_memory_gb: system.total_memory_gb,
        hostname: text(&system.hostname),
        architecture: text(&system.architecture),
    }
}
