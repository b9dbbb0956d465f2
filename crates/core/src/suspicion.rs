//! What a License Server notices about its sites, and tells the vendor.
//!
//! Nothing here denies anything: a restored backup looks like a copy, and it is
//! people who tell the two apart.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::file_trail::{AnsweredRequest, FileTrail, HeardCall, UNAWARE_REQUESTS_WINDOW, believed};
use crate::offline::MAX_REQUEST_SKEW;
use crate::open_leases::{BLIND_REQUESTS_WINDOW, SignedLease};
use crate::regressions::Regressions;

/// So many calls in a row that do not know the last answer, each another one,
/// are two machines that share one identity.
pub const CALLS_BEHIND: u32 = 3;

/// The time within which regressions are counted together, or three of the longest leases
/// if that is longer: each machine has to call once in a lease.
pub const REGRESSION_WINDOW: TimeDelta = TimeDelta::days(30);

/// How often at most a number is counted again whose lease has ended.
pub const REPETITION_INTERVAL: TimeDelta = TimeDelta::days(1);

/// More changes of the installation than this within [`INSTALLATION_CHANGES_WINDOW`] are several
/// machines that take turns. A machine is reinstalled less often.
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
    /// Several machines alternate on one identity: a copy, or a machine that is repeatedly
    /// restored from a backup or reinstalled.
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

    /// A short code for programs.
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
    /// When it said that first, without another number in between. Moves on when it counts
    /// again.
    pub behind_since: Option<DateTime<Utc>>,
    /// How many calls in a row were behind, each at another number.
    pub behind: u32,
    /// The greatest number that any call has said.
    pub acknowledged: u64,
    /// The lost number that was answered last: see [`crate::restored`].
    pub lost_claim: Option<u64>,
    /// Its request files.
    pub files: FileTrail,
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

/// A short hash of an installation id: as much of a hash as tells them apart.
#[must_use]
pub fn installation_fingerprint(installation_id: &str) -> String {
    short_hash(installation_id)
}

/// 16 bytes of the SHA-256 of a text, in base64url.
pub(crate) fn short_hash(text: &str) -> String {
    let hash = Sha256::digest(text);
    URL_SAFE_NO_PAD.encode(hash.get(..16).unwrap_or_default())
}

/// What a call says of its sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report<'a> {
    /// The highest sequence number that the site knows; `None` when it does not
    /// say, or says something that is no number.
    pub newest_seq: Option<u64>,
    /// When it was written, where it is a request file; by what the file says.
    pub written_at: Option<DateTime<Utc>>,
    /// The nonce of the request, where it is a file: a request that is signed again has the same.
    pub nonce: &'a str,
    /// It asks for a lease.
    pub asks_for_lease: bool,
    /// It asks for a lease, and the last one of the seat that it holds has not ended.
    pub has_running_lease: bool,
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
    /// Maximum time that a lease and its grace period count after an answer over the network.
    pub longest_lease: TimeDelta,
    /// When the call is made.
    pub at: DateTime<Utc>,
}

impl Report<'_> {
    /// When a request file was written. A file may say any time.
    fn written_at(&self) -> Option<DateTime<Utc>> {
        self.written_at.map(|it| it.max(DateTime::UNIX_EPOCH))
    }
}

impl Trail {
    /// Adds a call to the trail; answers what staff should review.
    ///
    /// A site whose answer was lost asks again with the same number, any number of times: that
    /// counts one time, and again each day after the lease that it must still have has ended with
    /// its grace: no site lives on one number for longer. A site that has said a number before
    /// and says none now is behind with every such call: a copy that hides its number is no
    /// better off than one that shows an old one. Calls that are up to date end a row of calls
    /// behind, but not the count of [`Regressions`]: a machine that hides or repeats its number
    /// beside one that says the newest is noticed by its third call in the window; a rollback to
    /// version 1.0.0 and the return from it count once. The activation of a new installation
    /// carries no number for good reason and counts for nothing. Request files are carried by
    /// hand, late and in any order, and follow the rules of [`FileTrail`]. When a former
    /// installation calls again, or the installation changes too often, that is noted.
    #[must_use]
    pub fn followed(&self, report: &Report<'_>) -> (Self, Vec<Suspicion>) {
        let mut next = self.clone();
        let mut found = Vec::new();
        if report.drifted {
            found.push(Suspicion::HardwareDrift);
        }
        let written_at = report.written_at();
        let by_file = written_at.is_some();
        let is_issued = |seq: &u64| *seq <= self.issued;
        let newest_seq = match report.is_activation {
            true => (report.newest_seq).filter(|it| is_issued(it) || report.knows_lost_number),
            false => report.newest_seq,
        };
        let caller = report.installation_id;
        let is_new = !caller.is_empty() && caller != self.installation_id;
        let has_none = by_file || (report.is_activation && is_new);
        let mut shared = false;
        match newest_seq {
            None if self.says_seq && !has_none => {
                next.count_behind(None, report.at);
                // A machine that lost its data activates without a number: what is said
                // next tells whether it was that one.
                if !report.is_activation {
                    shared |= next.count_regression(0, report);
                }
            }
            None => {}
            // A restored database has lost what it issued; the number says nothing
            // about the seat then, neither for it nor against it. But the answer to it was
            // the last one that was needed. Another one counts although the machine itself is up
            // to date in between.
            Some(seq) if !is_issued(&seq) && report.knows_lost_number => {
                if self.lost_claim.is_some_and(|it| it != seq) {
                    next.count_behind(Some(seq), report.at);
                    shared |= next.count_regression(seq, report);
                }
                next.lost_claim = Some(seq);
            }
            Some(seq) if !is_issued(&seq) => found.push(Suspicion::ImpossibleSequence),
            Some(seq) if self.is_up_to_date(seq, by_file) => {
                next.clear_behind();
                next.says_seq |= !by_file;
            }
            Some(seq) if by_file => {
                let is_behind = |at| self.files.is_behind(seq, at);
                // Requests that overtake each other say smaller numbers again.
                if self.behind_at < Some(seq) && written_at.is_some_and(is_behind) {
                    next.count_behind(Some(seq), report.at);
                }
            }
            Some(seq) if self.behind_at != Some(seq) => next.count_behind(Some(seq), report.at),
            Some(seq) if self.is_past_its_lease(seq, report) => {
                next.count_behind(Some(seq), report.at);
                // The next one counts a day later: a site that was switched off needs time
                // to hear an answer.
                next.behind_since = Some(report.at - report.longest_lease + REPETITION_INTERVAL);
            }
            Some(_) => next.behind_since = self.behind_since.or(Some(report.at)),
        }
        shared |= next.behind >= CALLS_BEHIND && next.behind != self.behind;
        if let Some(seq) = newest_seq.filter(is_issued) {
            if !by_file {
                if self.was_hidden() && !self.is_up_to_date(seq, by_file) {
                    shared |= next.count_regression(0, report);
                }
                if seq < self.acknowledged {
                    shared |= next.count_regression(seq, report);
                } else {
                    next.regressions.newest = None;
                }
            }
            if seq > self.acknowledged && (!by_file || self.is_credible(seq)) {
                next.acknowledged = seq;
            }
            let call = HeardCall {
                answered: self.answered,
                written_at,
                at: report.at,
            };
            shared |= next.files.hear(seq, call);
        }
        if self.is_unaware(report) {
            next.files.unaware_at = Some(report.at);
            let requests = &mut next.files.unaware_requests;
            shared |= requests.add(self.acknowledged, report.at, UNAWARE_REQUESTS_WINDOW);
        }
        if self.is_blind(report) {
            let requests = &mut next.files.blind_requests;
            requests.newest = None;
            shared |= requests.add(0, report.at, BLIND_REQUESTS_WINDOW);
        }
        (next.files).note_call(self.answered, next.acknowledged, report.at);
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

    /// Notes the answer over the network that the site keeps. The trail has to have followed
    /// the call.
    pub fn note_answer(&mut self, report: &Report<'_>, seq: u64) {
        self.answered = seq;
        if let Some(said) = report.newest_seq {
            self.files.open.note_answer(said, seq);
        }
    }

    /// Notes the answer to a request file: its number, and the end of its lease. The trail
    /// has to have followed the request. Answers what staff should review: more leases
    /// are open than one machine has, whatever their requests said.
    #[must_use]
    pub fn note_file(
        &mut self,
        report: &Report<'_>,
        seq: u64,
        exp: DateTime<Utc>,
    ) -> Option<Suspicion> {
        let written_at = report.written_at()?;
        // A renewal without a number may be one of an older program.
        let may_tell = report.newest_seq.is_some() || report.is_activation;
        let has_to_know = may_tell && report.has_running_lease && !report.knows_lost_number;
        let said = self.credible_number(report);
        self.files.add(AnsweredRequest {
            seq,
            exp,
            said,
            written_at,
            at: report.at,
            has_to_know,
        });
        let lease = SignedLease {
            nonce: report.nonce,
            said,
            seq,
            exp,
            at: report.at,
        };
        (self.files.open.add(&lease)).then_some(Suspicion::SharedIdentity)
    }

    /// Whether a request file asks for a lease without a number that a document of the site can
    /// have had, while another lease by file is open. A machine that has one says its number;
    /// one that was reinstalled cannot.
    fn is_blind(&self, report: &Report<'_>) -> bool {
        report.written_at.is_some()
            && report.asks_for_lease
            && !report.knows_lost_number
            && self.credible_number(report).is_none()
            && self.files.open.are_of_others(report.nonce, report.at)
    }

    /// Whether a request file does not know what the seat has shown. One for a renewal
    /// may: it was written before, and carried slowly. So were those that were written
    /// before the last one of this kind arrived. One that was written after that, as far as
    /// it is believed, and says a number that was old already then, is another machine's
    /// or was written after a backup was restored.
    fn is_unaware(&self, report: &Report<'_>) -> bool {
        let Some(written_at) = report.written_at() else {
            return false;
        };
        let said = self.credible_number(report).unwrap_or_default();
        let written_at = believed(written_at, report.at);
        let is_later = |last: DateTime<Utc>| written_at > last + MAX_REQUEST_SKEW;
        let was_old = (self.files.unaware_requests.newest).is_none_or(|shown| said < shown)
            || self.files.had_shown_newer(said, written_at);
        let is_stale = match report.newest_seq {
            Some(_) => was_old,
            None => self.says_seq,
        };
        report.has_running_lease
            && !report.knows_lost_number
            && (report.is_activation || is_stale)
            && said < self.acknowledged
            && self.files.unaware_at.is_none_or(is_later)
    }

    /// The number that a call says, where a document that the site keeps can have had it.
    fn credible_number(&self, report: &Report<'_>) -> Option<u64> {
        (report.newest_seq).filter(|seq| *seq <= self.issued && self.is_credible(*seq))
    }

    /// Whether the site knows the newest number that it must know. A number between that
    /// one and the last one issued was in an answer that sites do not keep.
    /// A request file must also know the newest file.
    fn is_up_to_date(&self, seq: u64, by_file: bool) -> bool {
        let is_of_file = self.answered == 0 || self.files.contains(seq);
        let is_known = seq == self.answered || (seq > self.answered && is_of_file);
        is_known && (!by_file || self.files.is_newest(seq))
    }

    /// Whether a number that was issued can have been in a document that the site keeps,
    /// as far as is remembered. Of files that were signed before there was a trail of them
    /// nothing is.
    fn is_credible(&self, seq: u64) -> bool {
        (seq <= self.acknowledged && !self.files.is_invented(seq))
            || seq == self.answered
            || self.lost_claim == Some(seq)
            || self.files.contains(seq)
            || (self.answered == 0 && self.files.is_empty())
    }

    /// Whether a call repeats an old number although the lease that came with it must have
    /// ended, with its grace.
    fn is_past_its_lease(&self, seq: u64, report: &Report<'_>) -> bool {
        let Some(since) = self.behind_since else {
            return false;
        };
        let end = since.checked_add_signed(report.longest_lease);
        Some(report.at) > end.max(self.files.end_of(seq))
    }

    fn count_behind(&mut self, seq: Option<u64>, at: DateTime<Utc>) {
        self.behind = self.behind.saturating_add(1);
        self.behind_at = seq;
        self.behind_since = seq.map(|_| at);
    }

    /// Answers whether it is one too many.
    fn count_regression(&mut self, seq: u64, report: &Report<'_>) -> bool {
        let leases = report.longest_lease.checked_mul(3).unwrap_or_default();
        let window = REGRESSION_WINDOW.max(leases);
        self.regressions.add(seq, report.at, window)
    }

    /// Whether the last call said no number, although the site has said one before.
    fn was_hidden(&self) -> bool {
        self.behind > 0 && self.behind_at.is_none()
    }

    fn clear_behind(&mut self) {
        self.behind = 0;
        self.behind_at = None;
        self.behind_since = None;
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
