//! The log lines about the machine's clocks.

use chrono::TimeDelta;
use license_core::time_guard::ClockEvent;

/// Logs notable events of the machine's clocks.
pub(super) fn log(events: &[ClockEvent]) {
    events.iter().for_each(log_one);
}

fn log_one(event: &ClockEvent) {
    let minutes = |by: TimeDelta| by.num_minutes();
    match event {
        ClockEvent::Behind { by } => tracing::error!(
            security = true,
            minutes = minutes(*by),
            "the wall clock is behind the effective time and is ignored; set the clock, and keep \
             it synchronized with NTP"
        ),
        ClockEvent::Doubted { ahead } => tracing::warn!(
            minutes = minutes(*ahead),
            "the wall clock is far ahead and is not trusted until the License Server confirms the \
             time or the clock has stayed ahead for 72 h"
        ),
        ClockEvent::Believed { ahead } => tracing::warn!(
            minutes = minutes(*ahead),
            "the wall clock has stayed ahead for 72 h and is trusted now"
        ),
        ClockEvent::BootClockLeapt { by } => tracing::warn!(
            minutes = minutes(*by),
            "the boot clock has jumped ahead by more than the accepted maximum"
        ),
        ClockEvent::Set { by } => tracing::info!(
            minutes = minutes(*by),
            "a signed response set the effective time"
        ),
        ClockEvent::AwaitsValidation { ahead } => tracing::warn!(
            minutes = minutes(*ahead),
            "no effective time is stored, and the wall clock is far ahead of the newest signed \
             document; asking the License Server first"
        ),
        ClockEvent::Assumed { ahead } => tracing::warn!(
            minutes = minutes(*ahead),
            "no effective time is stored, and the License Server did not confirm the time; using \
             the wall clock"
        ),
    }
}
