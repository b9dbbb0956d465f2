//! What a License Server notices about its sites, and tells the vendor.
//!
//! Nothing here denies anything: a restored backup looks like a copy, and it is
//! people who tell the two apart.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// So many calls in a row that do not know the last answer, each another one,
/// are two machines that share one identity.
pub const CALLS_BEHIND: u32 = 3;

/// So many times within [`REGRESSION_WINDOW`] calls said less than was said before:
/// that is two machines. A backup that is restored does so once.
pub const MAX_REGRESSIONS: u32 = 3;
/// The time within which regressions are counted together.
pub const REGRESSION_WINDOW: TimeDelta = TimeDelta::days(30);

/// More changes of the installation than this within [`INSTALLATION_CHANGES_WINDOW`] are
/// several machines that take turns. A machine is set up anew less often.
pub const MAX_INSTALLATION_CHANGES: usize = 3;
/// The time within which changes of the installation are counted together.
pub const INSTALLATION_CHANGES_WINDOW: TimeDelta = TimeDelta::days(30);
/// Maximum number of former installations that are remembered, the newest ones. More
/// machines than this that take turns change the installation often enough.
pub const MAX_FORMER_INSTALLATIONS: usize = 8;

/// Something that a person should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspicion {
    /// Several machines alternate on one identity: a copy, a backup that is
    /// restored again and again, or a machine that is set up anew again and again.
    SharedIdentity,
    /// A caller who knows the key reported a sequence number that was never issued.
    /// It is about the license: the named machine need not have sent it.
    ImpossibleSequence,
    /// A site says that its hardware is another one.
    HardwareDrift,
}

impl Suspicion {
    /// Whether it says something about the machine. What anyone who knows the
    /// key can cause does not.
    #[must_use]
    pub fn accuses_machine(self) -> bool {
        match self {
            Self::SharedIdentity | Self::HardwareDrift => true,
            Self::ImpossibleSequence => false,
        }
    }

    /// A short word that programs can compare.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SharedIdentity => "shared_identity",
            Self::ImpossibleSequence => "impossible_sequence",
            Self::HardwareDrift => "hardware_drift",
        }
    }
}

/// What is known of a seat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// The highest sequence number issued, in any answer.
    pub issued: u64,
    /// The newest one that the site must know: it was issued in answer to an
    /// activation or a validation, whose documents it keeps.
    pub answered: u64,
    /// Whether the site has ever said a number that was up to date. Sites of version
    /// 1.0.0 say none.
    pub says_seq: bool,
    /// What a site last said that it knows, when that was not [`Self::answered`].
    pub behind_at: Option<u64>,
    /// How many calls in a row were behind, each at another number.
    pub behind: u32,
    /// The greatest number that any call has said.
    pub acknowledged: u64,
    /// Calls that said less than [`Self::acknowledged`].
    pub regressions: Regressions,
    /// The installation that called last.
    pub installation_id: String,
    /// The ones that called before others took over, the newest last.
    pub former_installations: Vec<FormerInstallation>,
}

/// An installation that had the seat before another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FormerInstallation {
    /// Hash of its id: see [`installation_fingerprint`].
    pub fingerprint: String,
    /// When another one took over.
    pub replaced_at: DateTime<Utc>,
}

/// A short hash of an installation id: 16 bytes of its SHA-256, in base64url.
#[must_use]
pub fn installation_fingerprint(installation_id: &str) -> String {
    let hash = Sha256::digest(installation_id);
    URL_SAFE_NO_PAD.encode(hash.get(..16).unwrap_or_default())
}

/// Calls that said less than was said before. One machine never goes back, unless it
/// is restored from a backup: when an answer is lost, it says the same number again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regressions {
    /// How many there were, each at another number.
    pub count: u32,
    /// What the newest of them said.
    pub newest: Option<u64>,
    /// When the first of them was made.
    pub since: Option<DateTime<Utc>>,
}

/// What a call says of its sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report<'a> {
    /// The highest sequence number that the site knows; `None` when it does not
    /// say, or says something that is no number.
    pub newest_seq: Option<u64>,
    /// It came by file, which carries no number.
    pub by_file: bool,
    /// It is an activation. A site that activates another license than before
    /// sends the number of that one.
    pub is_activation: bool,
    /// The installation; empty when the site does not say.
    pub installation_id: &'a str,
    /// The site says that its hardware has changed.
    pub drifted: bool,
    /// The number was issued by a server whose answers this database does not have: see
    /// [`crate::restored`].
    pub knows_lost_number: bool,
    /// When the call is made.
    pub at: DateTime<Utc>,
}

impl Regressions {
    /// Adds a call that said `seq`, and not the greatest number.
    fn with(&self, seq: u64, at: DateTime<Utc>) -> Self {
        let window = self.since.filter(|since| at - since <= REGRESSION_WINDOW);
        match window {
            Some(_) if self.newest == Some(seq) => self.clone(),
            Some(since) => Self {
                count: self.count.saturating_add(1),
                newest: Some(seq),
                since: Some(since),
            },
            None => Self {
                count: 1,
                newest: Some(seq),
                since: Some(at),
            },
        }
    }
}

impl Trail {
    /// Adds a call to the trail; answers what is to be looked at.
    ///
    /// A site whose answer was lost asks again with the number that it had,
    /// however often: that counts once. A site that has said a number before and
    /// says none now is behind with every such call: a copy that hides its number
    /// is no better off than one that shows an old one. Two kinds of calls carry no
    /// number for good reason and count for nothing: a request file, and the activation
    /// of a new installation. When a former installation calls again, or the installation
    /// changes too often, that is noted.
    #[must_use]
    pub fn followed(&self, report: &Report<'_>) -> (Self, Vec<Suspicion>) {
        let mut next = self.clone();
        let mut found = Vec::new();
        if report.drifted {
            found.push(Suspicion::HardwareDrift);
        }
        let is_issued = |seq: &u64| *seq <= self.issued;
        let newest_seq = match report.is_activation {
            true => report.newest_seq.filter(is_issued),
            false => report.newest_seq,
        };
        let caller = report.installation_id;
        let is_new = !caller.is_empty() && caller != self.installation_id;
        let has_none = report.by_file || (report.is_activation && is_new);
        match newest_seq {
            None if self.says_seq && !has_none => {
                next.behind = self.behind.saturating_add(1);
                next.behind_at = None;
            }
            None => {}
            // A restored database has lost what it issued; the number says nothing
            // about the seat then, neither for it nor against it.
            Some(seq) if !is_issued(&seq) && report.knows_lost_number => {}
            Some(seq) if !is_issued(&seq) => found.push(Suspicion::ImpossibleSequence),
            Some(seq) if seq >= self.answered => {
                next.behind = 0;
                next.behind_at = None;
                next.says_seq = true;
            }
            Some(seq) if self.behind_at != Some(seq) => {
                next.behind = self.behind.saturating_add(1);
                next.behind_at = Some(seq);
            }
            Some(_) => {}
        }
        if let Some(seq) = newest_seq.filter(is_issued) {
            if seq < self.acknowledged {
                next.regressions = self.regressions.with(seq, report.at);
            }
            next.acknowledged = self.acknowledged.max(seq);
        }
        let mut shared = next.behind >= CALLS_BEHIND && next.behind != self.behind;
        shared |= next.regressions.count >= MAX_REGRESSIONS && next.regressions != self.regressions;
        if is_new {
            shared |= self.is_former(caller);
            next.former_installations = self.with_replaced(report.at);
            shared |= next.installation_changes(report.at) > MAX_INSTALLATION_CHANGES;
            next.installation_id = caller.to_owned();
        }
        if shared {
            found.push(Suspicion::SharedIdentity);
        }
        (next, found)
    }

    fn is_former(&self, installation_id: &str) -> bool {
        let fingerprint = installation_fingerprint(installation_id);
        let mut former = self.former_installations.iter();
        former.any(|it| it.fingerprint == fingerprint)
    }

    /// The former installations once another one takes over.
    fn with_replaced(&self, at: DateTime<Utc>) -> Vec<FormerInstallation> {
        let mut former = self.former_installations.clone();
        if self.installation_id.is_empty() {
            return former;
        }
        let replaced = FormerInstallation {
            fingerprint: installation_fingerprint(&self.installation_id),
            replaced_at: at,
        };
        // A call that was denied has not taken over. What calls again and again while the
        // license is suspended is one change.
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
