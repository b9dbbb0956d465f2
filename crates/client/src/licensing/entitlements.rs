//! What the site may use, as one value: what subscribers and OpenFeature
//! providers are told.

use chrono::{DateTime, Utc};
use license_core::license::License;
use license_core::limits::limit;
use license_core::standing::Standing;
use license_core::usage::Resource;
use serde_json::{Map, Value, json};

use crate::announced::Announced;
use crate::app::App;
use crate::licensing::switch::known;

/// What the site may use at `now`.
#[must_use]
pub fn entitlements(app: &App, now: DateTime<Utc>) -> Announced {
    let snapshot = app.snapshot();
    let standing = snapshot.standing(now);
    let mut features = Map::new();
    for key in known(app) {
        let decided = snapshot.decide(
            key.as_str(),
            now,
            |decision| json!({"available": decision.available, "reason": decision.reason.code()}),
        );
        features.insert(key.as_str().to_owned(), decided);
    }
    let license = snapshot.license();
    let limits: Map<String, Value> = Resource::ALL
        .into_iter()
        .map(|resource| {
            let limit = license.and_then(|license| limit(license, resource));
            (resource.as_str().to_owned(), json!(limit))
        })
        .collect();
    let grace_until = match standing {
        Standing::Grace { until } => Some(until),
        _ => None,
    };
    let value = json!({
        "standing": standing.as_str(),
        "tier": license.and_then(License::tier),
        "graceUntil": grace_until,
        "holdsUntil": snapshot.holds_until(now),
        "features": features,
        "limits": limits,
    });
    Announced::new(value)
}
