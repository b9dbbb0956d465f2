//! Report usage to the License Server.

use license_core::protocol::{HeartbeatRequest, UsageMetrics};
use license_core::response::{Acknowledgement, Contact};

use crate::app::App;
use crate::host::system::system_info;
use crate::licensing::exchange::exchange;
use crate::licensing::usage::{FRESH, measure};
use crate::random;

/// Sends a heartbeat, if there is a license. It is not evidence about the license, but a reason to
/// validate if it fails, or if it succeeds although validations have failed. `None` without a
/// license.
pub async fn heartbeat(app: &App) -> Option<Contact<Acknowledgement>> {
    let snapshot = app.snapshot().clone();
    let (identity, request) = (app.identity()?, measured_report(app).await?);
    let contact = exchange(app, &identity, &request).await;
    let now = app.clock.now();
    let is_answered = matches!(contact, Contact::Confirmed(_));
    let standing = snapshot.standing(now);
    app.knowledge
        .note_call(|calls| calls.heartbeat_sent(is_answered, &standing, now, random::jitter()));
    app.knowledge.keep_heartbeat(now).await;
    Some(contact)
}

async fn measured_report(app: &App) -> Option<HeartbeatRequest> {
    app.snapshot().evidence.lease.as_ref()?;
    measure(app, FRESH).await;
    report(app)
}

/// A heartbeat with the last counted usage; `None` without a
/// license.
#[must_use]
pub fn report(app: &App) -> Option<HeartbeatRequest> {
    let identity = app.identity()?;
    let license_key = app
        .snapshot()
        .evidence
        .lease
        .as_ref()?
        .license_key()
        .to_owned();
    let usage = app.meter.usage(app.clock.now());
    Some(HeartbeatRequest {
        license_key,
        hardware_id: identity.hardware_id.clone(),
        installation_id: identity.installation_id.clone(),
        usage_metrics: UsageMetrics::of(&usage),
        system_info: system_info(&app.root),
        usage,
    })
}
