//! What request files reveal about the machines that write them.
//!
//! A license file may be imported days after it was signed, or never, so its number alone says
//! nothing about the next call. Two machines are told apart by what one of them cannot know. A
//! caller said a number; later a call says a newer one that was issued before the first caller
//! wrote. Had the first one been the same machine, it would have reported that number, or would
//! have lost it permanently: a machine that was reinstalled or restored from a backup never
//! reports it again.
//!
//! A request that is carried slowly proves nothing by that. But its number may have been
//! passed over: a call did not know it, the next one knew the answer to that call, which is
//! newer, and no call has gone back since. A request that was written later with that
//! number is another machine's.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::offline::MAX_REQUEST_SKEW;
use crate::open_leases::OpenLeases;
use crate::regressions::Regressions;
use crate::restored::number_at;

/// Maximum number of signed files that are remembered for a seat, the newest ones.
pub const MAX_SIGNED_FILES: usize = 8;
/// Maximum number of callers of which it is open whether they are other machines.
pub const MAX_UNAWARE_CALLERS: usize = 8;
/// Maximum number of answers of which the numbers are remembered, the newest ones. A site that
/// validates daily needs one a day, for as long as a request may be carried.
pub const MAX_ANSWERED_NUMBERS: usize = 40;
/// How often at most it is noted what the seat has shown.
pub const SHOWN_INTERVAL: TimeDelta = TimeDelta::days(5);
/// Maximum number of these notes, the newest ones: more than a request may be carried.
pub const MAX_SHOWN: usize = 8;
/// Maximum time for which a request file is assumed to have been carried.
pub const MAX_CARRIED: TimeDelta = TimeDelta::days(30);
/// The time within which requests that do not know what the seat has shown are counted
/// together. A lease by file is good for 90 days by default.
pub const UNAWARE_REQUESTS_WINDOW: TimeDelta = TimeDelta::days(365);

/// What is known of the request files of one seat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FileTrail {
    /// The files signed last, the newest last.
    signed: Vec<SignedFile>,
    /// Callers that may be other machines, until a call tells.
    unaware: Vec<UnawareCaller>,
    /// How often there was a request that did not know what the seat had shown.
    pub unaware_requests: Regressions,
    /// When the last of them arrived.
    pub unaware_at: Option<DateTime<Utc>>,
    /// The leases that still run, on as many machines.
    pub open: OpenLeases,
    /// How often there was a request without a number while another machine's lease was open.
    pub blind_requests: Regressions,
    /// The numbers of the answers that sites keep, since the first file was signed; the
    /// newest ones, in order.
    answered: Vec<u64>,
    /// What the seat had shown, at some times since then; the newest last.
    shown: Vec<Shown>,
}

/// What a seat had shown at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    /// The greatest number that any call had said.
    seq: u64,
    /// When.
    at: DateTime<Utc>,
}

/// An answer by file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignedFile {
    /// Its number.
    seq: u64,
    /// The number that the request said; 0 for none.
    said: u64,
    /// When the request was written, by what it says.
    asked_at: DateTime<Utc>,
    /// The end of its lease and grace.
    exp: DateTime<Utc>,
    /// What calls have said since.
    heard: Heard,
    /// When a call said first that the file was passed over.
    passed_at: Option<DateTime<Utc>>,
}

/// What calls over the network have said since a file was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Heard {
    /// Nothing.
    Nothing,
    /// Older numbers alone: it was not imported then.
    Older,
    /// The answer to such a call: the file was not imported, and cannot be any more.
    PassedOver,
    /// Its number, or one that leaves open whether it was imported, or an older one again.
    Settled,
}

/// A caller that may not be the machine that calls otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UnawareCaller {
    /// The number that it said; 0 for none.
    said: u64,
    /// It would have known any number smaller than this one.
    before: u64,
    /// The number of the answer, at least.
    answer: u64,
}

/// A request file that was answered.
#[derive(Clone, Copy, Debug)]
pub struct AnsweredRequest {
    /// The number of the answer.
    pub seq: u64,
    /// The end of its lease and grace.
    pub exp: DateTime<Utc>,
    /// The number that the request said, where it can be true.
    pub said: Option<u64>,
    /// When it was written, by what it says.
    pub written_at: DateTime<Utc>,
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// Whether it had to know what its site knew then.
    pub has_to_know: bool,
}

/// A call whose sender says a number.
#[derive(Clone, Copy, Debug)]
pub struct HeardCall {
    /// The number of the newest answer over the network that sites keep.
    pub answered: u64,
    /// When it was written, for a request file.
    pub written_at: Option<DateTime<Utc>>,
    /// When it arrived.
    pub at: DateTime<Utc>,
}

impl FileTrail {
    /// Adds an answer by file.
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

    /// Notes what is known of a seat when it calls: the number of the newest answer over the
    /// network that sites keep, and the greatest number that any call has said. Nothing is
    /// noted of a seat that never asked by file.
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

    /// All later ones than the oldest are remembered; of earlier ones nothing is known.
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

    /// Whether no answer that sites keep had this number, as far as is remembered.
    #[must_use]
    pub fn is_invented(&self, seq: u64) -> bool {
        let oldest = self.answered.first();
        oldest.is_some_and(|oldest| seq > *oldest) && self.answered.binary_search(&seq).is_err()
    }

    /// Whether the seat had shown something newer than this number before a request was
    /// written.
    #[must_use]
    pub fn had_shown_newer(&self, seq: u64, written_at: DateTime<Utc>) -> bool {
        let was_before = |it: &Shown| it.at + MAX_REQUEST_SKEW < written_at;
        (self.shown.iter()).any(|it| it.seq > seq && was_before(it))
    }

    /// Hears that the sender of a call knows this number. Answers whether two machines
    /// share the seat.
    pub fn hear(&mut self, seq: u64, call: HeardCall) -> bool {
        let asked_with = self.find(seq).map(|it| it.said);
        let is_open = |it: &UnawareCaller| !it.is_settled_by(seq, asked_with, call.written_at);
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

    /// Later ones displace none that is open.
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

    /// Whether a file with this number was signed, among those remembered.
    #[must_use]
    pub fn contains(&self, seq: u64) -> bool {
        self.find(seq).is_some()
    }

    /// The end of the lease in the file with this number.
    #[must_use]
    pub fn end_of(&self, seq: u64) -> Option<DateTime<Utc>> {
        self.find(seq).map(|it| it.exp)
    }

    /// Whether nothing newer than this number was signed by file.
    #[must_use]
    pub fn is_newest(&self, seq: u64) -> bool {
        self.signed.iter().all(|it| it.seq <= seq)
    }

    /// Whether a newer file was asked for, before this request was written, by a sender that knew
    /// something newer than the sender of this one did when it asked for its reported number. The
    /// sender's own request whose answer was lost does not count.
    #[must_use]
    pub fn is_behind(&self, seq: u64, written_at: DateTime<Utc>) -> bool {
        let known_before = self.find(seq).map_or(seq, |it| it.said);
        // Either time may be wrong by as much.
        let is_later = |it: &SignedFile| written_at - it.asked_at > MAX_REQUEST_SKEW * 2;
        let mut newer = self.signed.iter().filter(|it| it.seq > seq);
        newer.any(|it| it.said > known_before && it.said != seq && is_later(it))
    }

    fn find(&self, seq: u64) -> Option<&SignedFile> {
        self.signed.iter().find(|it| it.seq == seq)
    }
}

impl SignedFile {
    /// Hears that the sender of a call knows this number. Answers whether it is the file's,
    /// and the machine that calls otherwise has passed that over.
    fn hear(&mut self, seq: u64, call: HeardCall) -> bool {
        let is_online = call.written_at.is_none();
        let was_written_since =
            |passed_at: DateTime<Utc>| call.written_since(passed_at + MAX_REQUEST_SKEW);
        let is_of_another = self.heard == Heard::PassedOver
            && seq == self.seq
            && self.passed_at.is_some_and(was_written_since);
        self.heard = match self.heard {
            Heard::Nothing if is_online && seq < self.seq => Heard::Older,
            // All calls since then have said older numbers: this is the answer to one.
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
    /// Whether it was written after an instant, as far as a file is believed.
    fn written_since(&self, at: DateTime<Utc>) -> bool {
        let written_at = self.written_at.unwrap_or(self.at);
        believed(written_at, self.at) > at
    }
}

impl UnawareCaller {
    /// Whether a call that knows this number settles who it was: a number that it would
    /// have known is another machine's; with one that may be the answer nothing can be said
    /// any more.
    ///
    /// `asked_with` is what the request said, where the number is one of a file. Such a
    /// file may have been imported late, but never by a site that has forgotten that
    /// request.
    fn is_settled_by(
        &self,
        seq: u64,
        asked_with: Option<u64>,
        written_at: Option<DateTime<Utc>>,
    ) -> bool {
        // A request file may have been written before the sender forgot everything.
        let is_later = written_at.is_none_or(|it| number_at(it - MAX_REQUEST_SKEW) > self.answer);
        let would_have_known = self.said < seq
            && seq < self.before.min(self.answer)
            && asked_with.is_none_or(|it| it > self.said);
        is_later && (would_have_known || seq >= self.answer)
    }
}
