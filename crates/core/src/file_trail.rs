//! What request files reveal about the machines that write them.
//!
//! A license file may be imported days after it was signed, or never, so its number alone says
//! nothing about the next call. Two machines are distinguished by what one of them cannot know.
//! Suppose that a caller reported a number, and a later call reports a newer number that was issued
//! before the first caller wrote its request. Had the first one been the same machine, it would
//! have reported that number, or would have lost it permanently: a machine that was reinstalled or
//! restored from a backup never reports it again.
//!
//! A late request alone proves nothing. But its number may have been skipped:
//! one call did not know the number, the next call knew the newer response to that call, and no
//! call has reported an older number since. A request with the skipped number that was written
//! later comes from another machine.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::offline::MAX_REQUEST_SKEW;
use crate::open_leases::OpenLeases;
use crate::regressions::Regressions;
use crate::restored::number_at;

/// Maximum number of signed files that are remembered for a seat, the newest ones.
pub const MAX_SIGNED_FILES: usize = 8;
/// Maximum number of callers that may be other machines, before a call shows whether they are.
pub const MAX_UNAWARE_CALLERS: usize = 8;
/// Maximum number of responses whose numbers are remembered; the newest are kept. A site that
/// validates daily needs one a day, for as long as a request may be carried.
pub const MAX_ANSWERED_NUMBERS: usize = 40;
/// Minimum interval between two records of what the seat has shown.
pub const SHOWN_INTERVAL: TimeDelta = TimeDelta::days(5);
/// Maximum number of these records; the newest are kept. They cover more time than a request may be
/// carried.
pub const MAX_SHOWN: usize = 8;
/// Maximum time for which a request file is assumed to have been carried.
pub const MAX_CARRIED: TimeDelta = TimeDelta::days(30);
/// The period in which requests that do not know what the seat has shown are counted together. A
/// lease by file is valid for 90 days by default.
pub const UNAWARE_REQUESTS_WINDOW: TimeDelta = TimeDelta::days(365);

/// What is known about the request files of one seat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FileTrail {
    /// The most recently signed files, newest last.
    signed: Vec<SignedFile>,
    /// Callers that may be other machines, until a call shows whether they are.
    unaware: Vec<UnawareCaller>,
    /// The number of requests that did not know what the seat had shown.
    pub unaware_requests: Regressions,
    /// When the last of these requests arrived.
    pub unaware_at: Option<DateTime<Utc>>,
    /// The leases that are still valid, each on a different machine.
    pub open: OpenLeases,
    /// The number of requests that reported no number while another machine's lease was open.
    pub blind_requests: Regressions,
    /// The numbers of the responses that sites keep, since the first file was signed; the newest
    /// ones, in order.
    answered: Vec<u64>,
    /// What the seat had shown at several times since then; newest last.
    shown: Vec<Shown>,
}

/// What a seat had shown at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    /// The greatest number that any call had reported.
    seq: u64,
    /// The time.
    at: DateTime<Utc>,
}

/// A response by file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignedFile {
    /// Its sequence number.
    seq: u64,
    /// The number that the request reported; 0 for none.
    said: u64,
    /// When the request was written, according to the request.
    asked_at: DateTime<Utc>,
    /// The end of its lease and grace period.
    exp: DateTime<Utc>,
    /// What later calls have reported.
    heard: Heard,
    /// When a call first showed that the file had been skipped.
    passed_at: Option<DateTime<Utc>>,
}

/// What calls over the network have reported since a file was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Heard {
    /// No calls since.
    Nothing,
    /// Only older numbers: the file was not imported at that time.
    Older,
    /// The number of the response to such a call: the file was not imported, and can no longer be.
    PassedOver,
    /// The file's number, a number that leaves open whether the file was imported, or an older
    /// number again.
    Settled,
}

/// A caller that may not be the machine that usually calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UnawareCaller {
    /// The number that the caller reported; 0 for none.
    said: u64,
    /// The caller would have known any number smaller than this one.
    before: u64,
    /// The number of the response, or more.
    answer: u64,
}

/// A request file that was answered.
#[derive(Clone, Copy, Debug)]
pub struct AnsweredRequest {
    /// The number of the response.
    pub seq: u64,
    /// The end of the lease and grace period in the response.
    pub exp: DateTime<Utc>,
    /// The number that the request reported, if it can be true.
    pub said: Option<u64>,
    /// When the request was written, according to the request.
    pub written_at: DateTime<Utc>,
    /// When the request arrived.
    pub at: DateTime<Utc>,
    /// Whether the request had to contain what its site knew at that time.
    pub has_to_know: bool,
}

/// A call whose sender reports a number.
#[derive(Clone, Copy, Debug)]
pub struct HeardCall {
    /// The number of the newest response over the network that sites keep.
    pub answered: u64,
    /// When the call was written, for a request file.
    pub written_at: Option<DateTime<Utc>>,
    /// When the call arrived.
    pub at: DateTime<Utc>,
}

impl FileTrail {
    /// Adds a response by file.
    pub fn add(&mut self, answered: AnsweredRequest) {
        let said = answered.said.unwrap_or_default();
        self.signed.push(SignedFile {
            seq: answered.seq,
            said,
            asked_at: answered.written_at,
            exp: answered.exp,
            heard: Heard::Nothing,
            passed_at: None,
        });
        let forgotten = self.signed.len().saturating_sub(MAX_SIGNED_FILES);
        self.signed.drain(..forgotten);
        self.note_answered(answered.seq);
        if answered.has_to_know {
            let written_at = believed(answered.written_at, answered.at);
            self.note_unaware(UnawareCaller {
                said,
                before: number_at(written_at - MAX_REQUEST_SKEW),
                answer: answered.seq,
            });
        }
    }

    /// Records what is known about a seat when it calls: the number of the newest response over the
    /// network that sites keep, and the greatest number that any call has reported. Nothing is
    /// recorded for a seat that never sent a request file.
    pub fn note_call(&mut self, answered: u64, acknowledged: u64, at: DateTime<Utc>) {
        if self.answered.is_empty() {
            return;
        }
        self.note_answered(answered);
        let is_news = |last: &Shown| acknowledged > last.seq && at - last.at >= SHOWN_INTERVAL;
        if self.shown.last().is_none_or(is_news) {
            self.shown.push(Shown {
                seq: acknowledged,
                at,
            });
            let forgotten = self.shown.len().saturating_sub(MAX_SHOWN);
            self.shown.drain(..forgotten);
        }
    }

    /// Everything after the oldest record is remembered; about earlier times nothing is known.
    fn note_answered(&mut self, seq: u64) {
        if self.answered.first().is_some_and(|oldest| seq < *oldest) {
            return;
        }
        if let Err(place) = self.answered.binary_search(&seq) {
            self.answered.insert(place, seq);
            let forgotten = self.answered.len().saturating_sub(MAX_ANSWERED_NUMBERS);
            self.answered.drain(..forgotten);
        }
    }

    /// Whether no remembered response that sites keep had this number.
    #[must_use]
    pub fn is_invented(&self, seq: u64) -> bool {
        let oldest = self.answered.first();
        oldest.is_some_and(|oldest| seq > *oldest) && self.answered.binary_search(&seq).is_err()
    }

    /// Whether the seat had shown a number newer than this one before a request was written.
    #[must_use]
    pub fn had_shown_newer(&self, seq: u64, written_at: DateTime<Utc>) -> bool {
        let was_before = |it: &Shown| it.at + MAX_REQUEST_SKEW < written_at;
        (self.shown.iter()).any(|it| it.seq > seq && was_before(it))
    }

    /// Records that the sender of a call knows this number. Returns whether two machines share the
    /// seat.
    pub fn hear(&mut self, seq: u64, call: HeardCall) -> bool {
        let asked_with = self.find(seq).map(|it| it.said);
        let is_open = |it: &UnawareCaller| !it.identifies_caller(seq, asked_with, call.written_at);
        let shared = (self.unaware.iter()).any(|it| !is_open(it) && seq < it.answer);
        self.unaware.retain(is_open);
        let mut is_of_another = false;
        for file in &mut self.signed {
            is_of_another |= file.hear(seq, call);
        }
        if is_of_another {
            self.note_unaware(UnawareCaller {
                said: seq,
                before: number_at(call.at),
                answer: number_at(call.at),
            });
        }
        shared
    }

    /// Later callers do not displace open ones.
    fn note_unaware(&mut self, caller: UnawareCaller) {
        let may_tell = caller.said < caller.before.min(caller.answer);
        if may_tell && self.unaware.len() < MAX_UNAWARE_CALLERS {
            self.unaware.push(caller);
        }
    }

    /// Whether no file is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.signed.is_empty()
    }

    /// Whether a remembered file has this number.
    #[must_use]
    pub fn contains(&self, seq: u64) -> bool {
        self.find(seq).is_some()
    }

    /// The end of the lease in the file with this number.
    #[must_use]
    pub fn end_of(&self, seq: u64) -> Option<DateTime<Utc>> {
        self.find(seq).map(|it| it.exp)
    }

    /// Whether no file with a newer number was signed.
    #[must_use]
    pub fn is_newest(&self, seq: u64) -> bool {
        self.signed.iter().all(|it| it.seq <= seq)
    }

    /// Whether, before this request was written, a newer file was requested by a sender with newer
    /// knowledge than the sender of this request had when it requested the number that it now
    /// reports. The sender's own request whose response was lost does not count.
    #[must_use]
    pub fn is_behind(&self, seq: u64, written_at: DateTime<Utc>) -> bool {
        let known_before = self.find(seq).map_or(seq, |it| it.said);
        // Either time may be wrong by that much.
        let is_later = |it: &SignedFile| written_at - it.asked_at > MAX_REQUEST_SKEW * 2;
        let mut newer = self.signed.iter().filter(|it| it.seq > seq);
        newer.any(|it| it.said > known_before && it.said != seq && is_later(it))
    }

    fn find(&self, seq: u64) -> Option<&SignedFile> {
        self.signed.iter().find(|it| it.seq == seq)
    }
}

impl SignedFile {
    /// Records that the sender of a call knows this number. Returns whether it is the number of the
    /// file, and the machine that usually calls has skipped that file.
    fn hear(&mut self, seq: u64, call: HeardCall) -> bool {
        let is_online = call.written_at.is_none();
        let was_written_since =
            |passed_at: DateTime<Utc>| call.written_since(passed_at + MAX_REQUEST_SKEW);
        let is_of_another = self.heard == Heard::PassedOver
            && seq == self.seq
            && self.passed_at.is_some_and(was_written_since);
        self.heard = match self.heard {
            Heard::Nothing if is_online && seq < self.seq => Heard::Older,
            // All calls since then have reported older numbers: this number is that of the response
            // to one of them.
            Heard::Older if is_online && seq > self.seq && seq == call.answered => {
                self.passed_at = Some(call.at);
                Heard::PassedOver
            }
            Heard::Nothing | Heard::Older if is_online && seq > self.seq => Heard::Settled,
            Heard::PassedOver if is_online && seq < self.seq => Heard::Settled,
            _ if seq == self.seq && (is_online || is_of_another) => Heard::Settled,
            heard => heard,
        };
        is_of_another
    }
}

/// When a request file that arrives now was written, within accepted limits.
#[must_use]
pub fn believed(written_at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    written_at.max(now - MAX_CARRIED)
}

impl HeardCall {
    /// Whether it was written after an instant, as far as a file's time can be trusted.
    fn written_since(&self, at: DateTime<Utc>) -> bool {
        let written_at = self.written_at.unwrap_or(self.at);
        believed(written_at, self.at) > at
    }
}

impl UnawareCaller {
    /// Whether a call that knows this number shows who the caller was. A number that the caller
    /// would have known comes from another machine; a number that may be that of the response
    /// leaves it open for good.
    ///
    /// `asked_with` is the number that the request reported, if the number is that of a file. Such
    /// a file may have been imported late, but never by a site that has forgotten the request.
    fn identifies_caller(
        &self,
        seq: u64,
        asked_with: Option<u64>,
        written_at: Option<DateTime<Utc>>,
    ) -> bool {
        // A request file may have been written before the sender lost its state.
        let is_later = written_at.is_none_or(|it| number_at(it - MAX_REQUEST_SKEW) > self.answer);
        let would_have_known = self.said < seq
            && seq < self.before.min(self.answer)
            && asked_with.is_none_or(|it| it > self.said);
        is_later && (would_have_known || seq >= self.answer)
    }
}
