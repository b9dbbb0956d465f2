//! Irregularities that a License Server detects in the calls from its sites, and reports to the
//! vendor.
//!
//! Nothing here denies anything: a restored backup looks like a copy, and only people can
//! distinguish the two.

mod former_installations;
mod numbers;
mod report;
mod request_files;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::file_trail::FileTrail;
use crate::regressions::Regressions;

pub use former_installations::{
    FormerInstallation, INSTALLATION_CHANGES_WINDOW, MAX_FORMER_INSTALLATIONS,
    MAX_INSTALLATION_CHANGES, installation_fingerprint,
};
pub use numbers::{CALLS_BEHIND, REGRESSION_WINDOW, REPETITION_INTERVAL};
pub use report::Report;

/// An irregularity that staff should review.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspicion {
    /// Several machines alternate under one identity: a copy, or a machine that is repeatedly
    /// restored from a backup or reinstalled.
    SharedIdentity,
    /// A caller who knows the key reported a sequence number that was never issued. It is recorded
    /// for the license, because the named machine may not have sent it.
    ImpossibleSequence,
    /// A site reports different hardware.
    HardwareDrift,
    /// A caller who knows the key did not prove the installation key of the machine's seat
    /// ([`crate::binding`]). It is recorded for the license, because the named machine may not have
    /// called.
    UnprovenCall,
}

impl Suspicion {
    /// Whether it concerns the machine. Anyone who knows the license key can raise a suspicion
    /// that concerns only the license.
    #[must_use]
    pub fn accuses_machine(self) -> bool {
        match self {
            Self::SharedIdentity | Self::HardwareDrift => true,
            Self::ImpossibleSequence | Self::UnprovenCall => false,
        }
    }

    /// A short code for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SharedIdentity => "shared_identity",
            Self::ImpossibleSequence => "impossible_sequence",
            Self::HardwareDrift => "hardware_drift",
            Self::UnprovenCall => "unproven_call",
        }
    }
}

/// What is known about a seat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// The highest sequence number issued, in any response.
    pub issued: u64,
    /// The newest number that the site must know: it was issued in response to an activation or a
    /// validation, whose documents the site keeps.
    pub answered: u64,
    /// Whether the site has ever reported an up-to-date number. Sites of version 1.0.0 report none.
    pub says_seq: bool,
    /// The number that the site last reported, if it was not [`Self::answered`], or if its lease had
    /// ended.
    pub behind_at: Option<u64>,
    /// When the site first reported that number, without another number in between. Advances when
    /// it is counted again.
    pub behind_since: Option<DateTime<Utc>>,
    /// The number of consecutive calls that were behind, each with a different number.
    pub behind: u32,
    /// The greatest number that any call has reported.
    pub acknowledged: u64,
    /// The last lost number that was answered: see [`crate::restored`].
    pub lost_claim: Option<u64>,
    /// The request files of the seat.
    pub files: FileTrail,
    /// Calls that reported a lower number than [`Self::acknowledged`].
    pub regressions: Regressions,
    /// The installation that last called.
    pub installation_id: String,
    /// The installations that called before others took over, newest last.
    pub former_installations: Vec<FormerInstallation>,
}

impl Trail {
    /// Adds a call to the trail; returns the suspicions that staff should review.
    ///
    /// A site whose answer was lost asks again with the same number, any number of times: that
    /// counts once, and again each day after the lease that it must still have has ended with its
    /// grace: no site lives on one number for longer. The same applies to the newest number, if the
    /// site requests no lease and only sends heartbeats. A site that has said a number before and says
    /// none now is behind with every such call: a copy that hides its number is no better off than
    /// one that shows an old one. Calls that are up to date end a row of calls behind, but not the
    /// count of [`Regressions`]: a machine that hides or repeats its number beside one that says
    /// the newest is noticed by its third call in the window; a rollback to version 1.0.0 and the
    /// return from it count once. The activation of a new installation carries no number for good
    /// reason; it counts as a change of the installation, and so does an activation without a
    /// number by an installation that must know one. Request files are carried by hand, late and in any order, and
    /// follow the rules of [`FileTrail`]. When a former installation calls again, or the
    /// installation changes too often, that is noted.
    #[must_use]
    pub fn followed(&self, report: &Report<'_>) -> (Self, Vec<Suspicion>) {
        let mut next = self.clone();
        let mut found = Vec::new();
        if report.drifted {
            found.push(Suspicion::HardwareDrift);
        }
        let newest_seq = self.relevant_number(report);
        if newest_seq.is_some_and(|seq| self.was_never_issued(seq, report)) {
            found.push(Suspicion::ImpossibleSequence);
        }
        let signs_of_sharing = [
            next.follow_number(self, newest_seq, report),
            next.follow_request_file(self, report),
            next.follow_installation(self, newest_seq, report),
        ];
        if signs_of_sharing.contains(&true) {
            found.push(Suspicion::SharedIdentity);
        }
        (next, found)
    }

    /// Records the response over the network that the site keeps. The call must have been added to
    /// the trail before.
    pub fn note_answer(&mut self, report: &Report<'_>, seq: u64) {
        self.answered = seq;
        if let Some(said) = report.newest_seq {
            self.files.open.note_answer(said, seq);
        }
    }
}
