//! Report to the License Server what is in use.

use license_core::contact::{self, NoContact, Refusal};
use license_core::protocol::{HeartbeatRequest, UsageMetrics};
use license_core::standing::Standing;

use crate::app::App;
use crate::host;
use crate::random;
use crate::store::system_config;

/// What came of a heartbeat.
#[derive(Debug)]
pub enum Heartbeat {
    /// There is no license, and so nothing to report.
    NotNeeded,
    /// The License Server has taken it.
    Sent,
    /// The License Server says no.
    Refused(Refusal),
    /// The License Server has not answered.
    NoContact(NoContact),
}

/// Sends a heartbeat, if there is a license. It is no evidence about the
/// license, but a reason to validate: when it fails, and when it works while
/// the validations did not.
pub async fn heartbeat(app: &App) -> Heartbeat {
    let snapshot = app.snapshot().clone();
    if snapshot.evidence.lease.is_none() {
        return Heartbeat::NotNeeded;
    }
    let request = HeartbeatRequest {
        license_key: snapshot.evidence.license_key.clone(),
        hardware_id: app.identity.hardware_id.clone(),
        installation_id: app.identity.installation_id.clone(),
        usage_metrics: UsageMetrics::default(),
        system_info: host::system_info(),
    };
    let reply = app.upstream.heartbeat(&request, &random::nonce()).await;
    let outcome = match contact::acknowledgement(&reply) {
        Ok(Ok(())) => Heartbeat::Sent,
        Ok(Err(refusal)) => Heartbeat::Refused(refusal),
        Err(why) => Heartbeat::NoContact(why),
    };
    let now = app.clock.now();
    let wanted = match &outcome {
        Heartbeat::NotNeeded => false,
        Heartbeat::Sent => matches!(snapshot.standing(now), Standing::Grace { .. }),
        Heartbeat::Refused(refusal) => {
            tracing::warn!(
                reason = refusal.reason(),
                "the License Server refuses the heartbeat"
            );
            true
        }
        Heartbeat::NoContact(why) => {
            tracing::warn!(reason = why.code(), "the heartbeat was not sent: {why}");
            true
        }
    };
    let at = now.to_rfc3339();
    let stored = system_config::set(app.store.reader(), system_config::HEARTBEAT_AT, &at, now);
    if let Err(error) = stored.await {
        tracing::warn!(%error, "the time of the heartbeat could not be stored");
    }
    app.note_call(|calls| {
        calls.heartbeat_at = now;
        calls.heartbeat_jitter = random::jitter();
        calls.validation_wanted |= wanted;
    });
    outcome
}
