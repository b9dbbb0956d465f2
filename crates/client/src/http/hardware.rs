//! How this machine is identified, and whether it has changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use license_core::hardware::{Change, Verdict};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;

/// The comparison of this machine with the one on which the license was activated.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HardwareResponse {
    /// Null until the database is reached for the first time.
    hardware_id: Option<String>,
    /// `none`, `drifted` or `unknown`.
    drift: &'static str,
    /// Each current or recorded component: `same`, `changed`, `missing` or `new`. The values are
    /// never shown.
    components: BTreeMap<&'static str, &'static str>,
    /// A human-readable message.
    message: &'static str,
}

/// Show Hardware
///
/// Drift is reported but never causes a denial.
#[utoipa::path(
    get,
    path = "/api/license/hardware",
    responses((status = 200, description = "The comparison", body = HardwareResponse))
)]
pub(super) async fn show(State(app): State<Arc<App>>) -> Json<HardwareResponse> {
    let comparison = app.knowledge.comparison();
    let verdict = comparison.as_ref().map_or(Verdict::Unknown, |c| c.verdict);
    let components = comparison.iter().flat_map(|c| &c.components);
    Json(HardwareResponse {
        hardware_id: app.identity().map(|identity| identity.hardware_id.clone()),
        drift: drift(verdict),
        components: components
            .map(|(component, change)| (component.as_str(), word(*change)))
            .collect(),
        message: match verdict {
            Verdict::Same => "This is still the same machine",
            Verdict::Drifted => {
                "This looks like another machine; if this is intended, activate the license key \
                 again"
            }
            Verdict::Unknown => {
                "Not enough hardware components to compare; this is normal in a \
                container"
            }
        },
    })
}

pub(crate) fn drift(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Same => "none",
        Verdict::Drifted => "drifted",
        Verdict::Unknown => "unknown",
    }
}

pub(crate) fn word(change: Change) -> &'static str {
    match change {
        Change::Same => "same",
        Change::Changed => "changed",
        Change::Missing => "missing",
        Change::New => "new",
    }
}
