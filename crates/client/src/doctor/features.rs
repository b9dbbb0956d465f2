//! Do gates ask only about known features?

use serde_json::Value;

use super::{Examiner, Finding};
use crate::config::Settings;
use crate::licensing::decide::unknown_features;
use crate::running_service::ServiceArgs;

const WHAT: &str = "gates";
/// Maximum number of keys named in a finding.
const SHOWN: usize = 5;

/// `None` if no service answers.
pub(super) async fn check(settings: &Settings, examiner: Examiner<'_>) -> Option<Finding> {
    let keys: Vec<String> = match examiner {
        Examiner::Service(app) => unknown_features(app).into_iter().map(|it| it.key).collect(),
        Examiner::Command => {
            let service = ServiceArgs::at(settings.host, settings.port);
            let answer = service.get("/api/license/features").await.ok()?;
            let listed = answer.body.get("unknown").and_then(Value::as_array)?;
            let keys = listed.iter().filter_map(|it| it["featureKey"].as_str());
            keys.map(str::to_owned).collect()
        }
    };
    Some(finding(&keys))
}

fn finding(keys: &[String]) -> Finding {
    if keys.is_empty() {
        return Finding::ok(WHAT, "all features that gates have asked about are known");
    }
    let shown = keys.iter().take(SHOWN);
    let shown: Vec<String> = shown
        .map(|key| format!("'{}'", key.escape_debug()))
        .collect();
    let more = match keys.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Finding::warning(
        WHAT,
        format!(
            "gates ask about features that are in neither the product nor the license: {}{more}",
            shown.join(", ")
        ),
        "correct the spelling in the gateway's configuration, in GATE_ROUTES or in the service \
         that makes the check; 'license-client features' lists the known features",
    )
}
