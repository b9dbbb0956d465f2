//! The installations that had a seat before the one that has it now.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Trail;
use super::report::Report;
use crate::short_hash::short_hash;

/// More changes of the installation than this within [`INSTALLATION_CHANGES_WINDOW`] indicate
/// several machines that take turns. A machine is reinstalled less often.
pub const MAX_INSTALLATION_CHANGES: usize = 3;
/// The period in which changes of the installation are counted together, or three maximum leases if
/// that is longer: each machine has to activate once per lease.
pub const INSTALLATION_CHANGES_WINDOW: TimeDelta = TimeDelta::days(30);
/// Stands in the place of a fingerprint for an activation by the same installation that did not say
/// the number that it must know.
const FORGETFUL: &str = "";
/// Maximum number of former installations that are remembered; the newest are kept. If more
/// machines than this take turns, the installation changes often enough to be detected.
pub const MAX_FORMER_INSTALLATIONS: usize = 8;

/// An installation that used the seat before another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FormerInstallation {
    /// Hash of its id: see [`installation_fingerprint`]. Empty if the installation stayed the same,
    /// and activated as one that has lost its data.
    pub fingerprint: String,
    /// When another one took over.
    pub replaced_at: DateTime<Utc>,
    /// The highest sequence number that had been issued by then.
    #[serde(default)]
    pub issued: u64,
}

/// A short hash of an installation id, long enough to distinguish installations.
#[must_use]
pub fn installation_fingerprint(installation_id: &str) -> String {
    short_hash(installation_id)
}

impl Trail {
    /// Adds the calling installation to the trail, which reports `newest_seq`; `before` is the
    /// trail's previous state. Returns whether this indicates several machines.
    ///
    /// An activation without the number that the installation must know is like one of a new
    /// installation: a machine that has lost its data makes it, and so does each of several machines
    /// that take turns. Calls that are up to date do not end the count.
    pub(super) fn follow_installation(
        &mut self,
        before: &Self,
        newest_seq: Option<u64>,
        report: &Report<'_>,
    ) -> bool {
        let caller = report.installation_id;
        if before.is_replaced_by(report) {
            self.former_installations = before.with_replaced(report.at);
            self.installation_id = caller.to_owned();
            return before.is_former(caller) || self.changes_too_often(report);
        }
        if !before.is_forgetful(newest_seq, report) {
            return false;
        }
        let former = before.former_installations.clone();
        self.former_installations = with(
            former,
            FormerInstallation {
                fingerprint: FORGETFUL.to_owned(),
                replaced_at: report.at,
                issued: before.issued,
            },
        );
        self.changes_too_often(report)
    }

    /// Whether a call is an activation over the network that says no number, although the
    /// installation must know one. One whose response was lost, so that no call has reported the
    /// number in it, is repeated.
    fn is_forgetful(&self, newest_seq: Option<u64>, report: &Report<'_>) -> bool {
        let is_by_file = report.written_at.is_some();
        let newest = self.former_installations.last();
        let is_repeated = newest.is_some_and(|newest| self.acknowledged <= newest.issued);
        report.is_activation && !is_by_file && !is_repeated && self.says_seq && newest_seq.is_none()
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
        if self.installation_id.is_empty() {
            return self.former_installations.clone();
        }
        let replaced = FormerInstallation {
            fingerprint: installation_fingerprint(&self.installation_id),
            replaced_at: at,
            issued: self.issued,
        };
        // An installation whose call was denied has not taken over. Repeated calls while the
        // license is suspended are one change.
        let mut former = self.former_installations.clone();
        former.pop_if(|newest| newest.fingerprint == replaced.fingerprint);
        with(former, replaced)
    }

    /// Whether the installation has changed too often within the window.
    fn changes_too_often(&self, report: &Report<'_>) -> bool {
        let window = report.window(INSTALLATION_CHANGES_WINDOW);
        let is_recent = |it: &&FormerInstallation| report.at - it.replaced_at <= window;
        let changes = self.former_installations.iter().filter(is_recent).count();
        changes > MAX_INSTALLATION_CHANGES
    }
}

/// The list with one more; the oldest are forgotten.
fn with(
    mut former: Vec<FormerInstallation>,
    newest: FormerInstallation,
) -> Vec<FormerInstallation> {
    former.push(newest);
    let forgotten = former.len().saturating_sub(MAX_FORMER_INSTALLATIONS);
    former.drain(..forgotten);
    former
}
