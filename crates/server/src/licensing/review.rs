//! Records suspicions for the vendor's staff to review. The rules are
//! [`license_core::suspicion`]'s.

use chrono::{DateTime, Utc};
use license_core::foreign_text;
use license_core::suspicion::Suspicion;
use sea_orm::ConnectionTrait;

use crate::store::seats::Seat;
use crate::store::{StoreError, suspicions};

/// Records suspicions about the machine of a seat, and logs those that are new.
///
/// # Errors
/// If the database returns an error.
pub(super) async fn record_suspicions(
    db: &impl ConnectionTrait,
    seat: &Seat,
    found: impl IntoIterator<Item = Suspicion>,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    for suspicion in found {
        let noted = suspicions::note(db, &seat.license_id, &seat.hardware_id, suspicion, at);
        if noted.await? {
            log_suspicion(suspicion, &seat.hardware_id);
        }
    }
    Ok(())
}

/// The number of log lines is limited for each statement, so copies are logged by a separate
/// statement.
fn log_suspicion(suspicion: Suspicion, hardware_id: &str) {
    let hardware_id = &*foreign_text::identifier(hardware_id);
    match suspicion {
        Suspicion::SharedIdentity => tracing::warn!(
            hardware_id,
            suspicion = suspicion.as_str(),
            "several machines appear to share one identity"
        ),
        Suspicion::ImpossibleSequence | Suspicion::HardwareDrift | Suspicion::UnprovenCall => {
            tracing::warn!(
                hardware_id,
                suspicion = suspicion.as_str(),
                "suspicious site; review it"
            );
        }
    }
}
