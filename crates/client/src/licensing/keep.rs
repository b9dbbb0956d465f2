//! Keep a local copy of the state, and load it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use license_core::feature::FeatureKey;
use license_core::taking_over::Remembered;
use license_core::time_guard::Mark;
use license_core::usage::Gauges;
use license_service::clock::Clock as _;
use serde::{Deserialize, Serialize};

use crate::app::{App, Unwritten};
use crate::identity::{Identity, is_usable};
use crate::licensing::key_sets::go_on;
use crate::licensing::rows::Rows;
use crate::snapshot::Snapshot;

/// What the local copy holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    installation_id: String,
    hardware_id: String,
    rows: Rows,
    switched_off: BTreeSet<String>,
    heartbeat_at: DateTime<Utc>,
    unwritten: Unwritten,
    #[serde(default)]
    key_sets: Vec<String>,
    /// The high-water mark of the effective time.
    #[serde(default)]
    effective_time: Option<Mark>,
    /// What services have reported, while the database does not have it.
    #[serde(default)]
    reported_usage: Gauges,
    /// The time that counted when this was written, where no keys are trusted.
    #[serde(default)]
    unsigned_time: Option<DateTime<Utc>>,
    /// What is remembered about licenses, including former ones.
    #[serde(default)]
    remembered: Remembered,
}

/// Writes the local copy; answers whether it is written.
pub async fn keep(app: &App) -> bool {
    let Some(identity) = app.identity() else {
        return false;
    };
    let content = || {
        let snapshot = app.snapshot();
        let switched_off = snapshot.entitlements().switched_off();
        let unwritten = app.unwritten();
        Content {
            installation_id: identity.installation_id.clone(),
            hardware_id: identity.hardware_id.clone(),
            rows: Rows::of(&snapshot.evidence, &app.policy),
            switched_off: switched_off.map(ToString::to_string).collect(),
            heartbeat_at: app.calls().heartbeat_at(),
            reported_usage: match unwritten.usage {
                true => app.meter.gauges(),
                false => Gauges::default(),
            },
            unwritten,
            key_sets: app.keys.chain(),
            effective_time: app.effective.as_ref().map(|clock| clock.guard().mark()),
            unsigned_time: app.unsigned.as_ref().map(|clock| clock.now()),
            remembered: app.remembered(),
        }
    };
    app.local_copy.write(content).await
}

/// What the local copy says.
pub struct Kept {
    /// Who this installation is.
    pub identity: Identity,
    /// What was known.
    pub snapshot: Snapshot,
    /// When the last heartbeat was tried.
    pub heartbeat_at: DateTime<Utc>,
    /// What the database did not have.
    pub unwritten: Unwritten,
    /// The high-water mark of the effective time.
    pub effective_time: Option<Mark>,
    /// What services had reported that the database did not have.
    pub reported_usage: Gauges,
    /// Until when an earlier process ran without keys.
    pub unsigned_time: Option<DateTime<Utc>>,
}

/// Reads the local copy, if there is one. What is signed is verified.
#[must_use]
pub fn recall(app: &App, now: DateTime<Utc>) -> Option<Kept> {
    let content: Content = app.local_copy.read()?;
    if !is_usable(&content.installation_id) || !is_usable(&content.hardware_id) {
        tracing::error!(
            security = true,
            "ignoring the local copy, its id was changed by hand"
        );
        app.metrics.security_event();
        return None;
    }
    go_on(app, &content.key_sets);
    let prescribed = app.prescribed.clone();
    let identity = Identity {
        installation_id: prescribed
            .installation_id
            .unwrap_or(content.installation_id),
        hardware_id: prescribed.hardware_id.unwrap_or(content.hardware_id),
    };
    let switched_off = content.switched_off.iter();
    let switched_off = switched_off.filter_map(|key| FeatureKey::parse(key).ok());
    app.recall_remembered(content.remembered);
    let remembered = app.remembered();
    let recalled = content.rows.take_up(&app.keys, &identity, &remembered, now);
    if recalled.tampered {
        app.metrics.security_event();
    }
    Some(Kept {
        identity,
        snapshot: Snapshot::new(recalled.evidence, switched_off.collect(), app.policy),
        heartbeat_at: content.heartbeat_at,
        unwritten: content.unwritten,
        effective_time: content.effective_time,
        reported_usage: content.reported_usage,
        unsigned_time: content.unsigned_time,
    })
}
