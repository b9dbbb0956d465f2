//! Decide about a feature for a gate, over any protocol.

use chrono::{DateTime, Utc};
use license_core::feature::FeatureKey;
use license_core::gate::Decision;
use license_core::license_key::mask_within;
use license_core::plausible_time::PlausibleTime;

use crate::app::App;
use crate::unknown_features::UnknownFeature;

/// Decides about one feature at `now`, counts the decision, and passes it to `answer`.
pub fn decide<T>(
    app: &App,
    key: &str,
    now: PlausibleTime,
    answer: impl FnOnce(Decision<'_>) -> T,
) -> T {
    let snapshot = app.snapshot();
    if !snapshot.entitlements().is_known(key) {
        note_unknown(app, key, now.latest());
    }
    snapshot.decide(key, now, |decision| {
        app.metrics.decided(&decision);
        answer(decision)
    })
}

/// Counts a question about a key that neither the product nor the license has,
/// and logs the first one.
pub fn note_unknown(app: &App, key: &str, now: DateTime<Utc>) {
    if app.unknown_features.note(key, now) {
        let feature: String = key.chars().take(FeatureKey::MAX_CHARS).collect();
        tracing::warn!(
            feature = ?presentable(app, &feature),
            "a gate asked about a feature that is in neither the product nor the license; check \
             its spelling in the gate's configuration"
        );
    }
}

/// The keys that gates have asked about and that are unknown now.
#[must_use]
pub fn unknown_features(app: &App) -> Vec<UnknownFeature> {
    let snapshot = app.snapshot();
    let entitlements = snapshot.entitlements();
    let mut listed = app.unknown_features.list(|key| !entitlements.is_known(key));
    for feature in &mut listed {
        feature.key = presentable(app, &feature.key);
    }
    listed
}

/// A license key may have been sent instead of a feature.
fn presentable(app: &App, key: &str) -> String {
    mask_within(key, app.snapshot().evidence.license_key())
}
