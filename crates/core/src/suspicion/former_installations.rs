//! The installations that had a seat before the one that has it now.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Trail;
use super::report::Report;
use crate::short_hash::short_hash;

/// More changes of the installation than this within [`INSTALLATION_CHANGES_WINDOW`] indicate
/// several machines that take turns. A machine is reinstalled less often.
pub const MAX_INSTALLATION_CHANGES: usize = 3;
/// The period in which changes of the installation are counted together.
pub const INSTALLATION_CHANGES_WINDOW: TimeDelta = TimeDelta::days(30);
/// Maximum number of former installations that are remembered; the newest are kept. If more
/// machines than this take turns, the installation changes often enough to be detected.
pub const MAX_FORMER_INSTALLATIONS: usize = 8;

/// An installation that used the seat before another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FormerInstallation {
    /// Hash of its id: see [`installation_fingerprint`].
    pub fingerprint: String,
    /// When another one took over.
    pub replaced_at: DateTime<Utc>,
}

/// A short hash of an installation id, long enough to distinguish installations.
#[must_use]
pub fn installation_fingerprint(installation_id: &str) -> String {
    short_hash(installation_id)
}

impl Trail {
    /// Adds the calling installation to the trail; `before` is the trail's previous state. Returns
    /// whether this indicates several machines.
    pub(super) fn follow_installation(&mut self, before: &Self, report: &Report<'_>) -> bool {
        if !before.is_replaced_by(report) {
            return false;
        }
        let caller = report.installation_id;
        self.former_installations = before.with_replaced(report.at);
        self.installation_id = caller.to_owned();
        before.is_former(caller) || self.installation_changes(report.at) > MAX_INSTALLATION_CHANGES
    }

    /// Whether another installation calls than before.
    pub(super) fn is_replaced_by(&self, report: &Report<'_>) -> bool {
        let caller = report.installation_id;
        !caller.is_empty() && caller != self.installation_id
    }

    fn is_former(&self, installation_id: &str) -> bool {
        let fingerprint = installation_fingerprint(installation_id);
        let mut former = self.former_installations.iter();
        former.any(|it| it.fingerprint == fingerprint)
    }

    /// The former installations after another one has taken over.
    fn with_replaced(&self, at: DateTime<Utc>) -> Vec<FormerInstallation> {
        let mut former = self.former_installations.clone();
        if self.installation_id.is_empty() {
            return former;
        }
        let replaced = FormerInstallation {
            fingerprint: installation_fingerprint(&self.installation_id),
            replaced_at: at,
        };
        // An installation whose call was denied has not taken over. Repeated calls while the
        // license is suspended are one change.
        former.pop_if(|newest| newest.fingerprint == replaced.fingerprint);
        former.push(replaced);
        let forgotten = former.len().saturating_sub(MAX_FORMER_INSTALLATIONS);
        former.drain(..forgotten);
        former
    }

    /// How often the installation has changed within the window.
    fn installation_changes(&self, at: DateTime<Utc>) -> usize {
        let is_recent =
            |it: &&FormerInstallation| at - it.replaced_at <= INSTALLATION_CHANGES_WINDOW;
        self.former_installations.iter().filter(is_recent).count()
    }
}
