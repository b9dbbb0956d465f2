//! What a License Server may deny when its database may be older than its sites.
//!
//! A database that was restored from a backup does not know what was issued, renewed or activated
//! after the backup. Sequence numbers show it: they are milliseconds since the epoch, so a site
//! that was answered after the backup knows a number that the restored database never issued. Such
//! a site is not denied unless the database contains the decision to deny it. A site that lies
//! about its number gains nothing that it could not get by making no call at all: it works until
//! the end of its signed lease.

use chrono::{DateTime, TimeDelta, Utc};

use crate::document::DenialReason;
use crate::protocol::Call;

/// How far the clock of a lost server may have been ahead of this one's.
pub const MAX_LEAD: TimeDelta = TimeDelta::minutes(10);

/// How long the record of a running server may rest: servers record every 15 seconds that they
/// are running.
pub const MAX_UNRECORDED: TimeDelta = TimeDelta::seconds(30);

/// How far the clocks of two healthy servers may differ: a record that is so little ahead
/// was not made by a wrong clock. A backup cannot be restored in less time.
pub const MAX_SKEW: TimeDelta = TimeDelta::seconds(5);

/// Maximum time between a clean stop and the next start without doubt: a backup cannot be restored
/// in less time.
pub const MAX_RESTART: TimeDelta = TimeDelta::minutes(1);

/// The time up to which a database is known to contain everything that was issued. Only a server
/// that has checked that its own last record is still there advances it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Grows with each record. A smaller value than before comes from a restored backup.
    pub version: u64,
    /// When the record was written.
    pub until: DateTime<Utc>,
    /// The server that wrote the record has stopped, and issued nothing afterwards.
    pub is_closed: bool,
}

/// What a recorded [`Coverage`] means to a process that starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// Nothing was issued after the record.
    Kept,
    /// A server is running, or failed a moment ago. If it is running, it advances the record within
    /// [`MAX_UNRECORDED`].
    OpenNow,
    /// Later numbers may be lost.
    Broken,
}

impl Coverage {
    /// What the record means to a process that starts now.
    #[must_use]
    pub fn continuity(&self, now: DateTime<Utc>) -> Continuity {
        let rest = now - self.until;
        match self.is_closed {
            // The clock that recorded it was ahead: how much time has passed is not known.
            _ if rest < -MAX_SKEW => Continuity::Broken,
            true if rest <= MAX_RESTART => Continuity::Kept,
            false if rest <= MAX_UNRECORDED => Continuity::OpenNow,
            _ => Continuity::Broken,
        }
    }

    /// The next record.
    #[must_use]
    pub fn next(recorded: Option<&Self>, now: DateTime<Utc>, is_closed: bool) -> Self {
        Self {
            version: recorded.map_or(0, |it| it.version).saturating_add(1),
            until: now,
            is_closed,
        }
    }
}

/// Numbers that another server may have issued and that the database does not contain: those from
/// the time between a backup and its restoration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostNumbers {
    /// The newest number before the range.
    pub after: u64,
    /// The number of the moment at which the loss was noticed, or the newest recorded one if
    /// that is later. Numbers up to [`MAX_LEAD`] later may be lost too.
    pub until: u64,
}

impl LostNumbers {
    /// The numbers that may be lost if the database is complete up to the number `recorded`, and
    /// this is noticed now. If `recorded` is in the future, the clock that recorded it was ahead
    /// by [`MAX_LEAD`] at most, and the database is complete only up to a number that is so much
    /// smaller.
    #[must_use]
    pub fn noticed(recorded: u64, now: DateTime<Utc>) -> Self {
        let after = match recorded > number_at(now + MAX_SKEW) {
            true => recorded.saturating_sub(millis(MAX_LEAD)),
            false => recorded,
        };
        Self {
            after,
            until: number_at(now).max(recorded),
        }
    }

    /// Whether a site that knows this number was answered by a server whose answers the database
    /// does not have. That server's clock may have been ahead, by [`MAX_LEAD`] at most. Numbers
    /// further in the future than that were invented.
    #[must_use]
    pub fn contain(&self, known: u64, now: DateTime<Utc>) -> bool {
        let last = self.until.saturating_add(millis(MAX_LEAD));
        self.after < known && known <= last && known <= number_at(now + MAX_LEAD)
    }
}

fn millis(span: TimeDelta) -> u64 {
    u64::try_from(span.num_milliseconds()).unwrap_or_default()
}

/// All refusals that a License Server signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key has the wrong form or a wrong check character.
    MalformedKey,
    /// No license has the key.
    UnknownKey,
    /// The license is suspended.
    Suspended,
    /// The license is revoked.
    Revoked,
    /// The license has expired.
    Expired,
    /// The machine's seat was freed by the site or by the vendor.
    SeatFreed,
    /// The machine never had a seat.
    NoSeat,
    /// Other machines hold all seats.
    SeatLimit,
    /// The key is an add-on key, and there is no license that it could add to.
    AddOnKey,
    /// The key is a trial code.
    TrialCode,
    /// The add-on key has the wrong form or a wrong check character.
    MalformedAddOn,
    /// There is no such add-on key.
    UnknownAddOn,
    /// The add-on key was redeemed on another license.
    AddOnElsewhere,
    /// The add-on key was refunded.
    AddOnRefunded,
    /// The license cannot have what the add-on key grants.
    AddOnNotPossible,
    /// The trial code has the wrong form or a wrong check character.
    MalformedTrialCode,
    /// There is no such trial code.
    UnknownTrialCode,
    /// The trial code starts no more trials.
    TrialCodeUsedUp,
    /// No more trials are started today.
    TrialsOfTheDay,
    /// The installation has started its trial on another machine, or another site has.
    TrialElsewhere,
    /// The license of the trial is no longer a trial, or its seat was given back or freed.
    TrialConverted,
    /// An activation without the installation key of the seat ([`crate::binding`]).
    Unproven,
}

impl Refusal {
    /// All variants.
    pub const ALL: [Self; 22] = [
        Self::MalformedKey,
        Self::UnknownKey,
        Self::Suspended,
        Self::Revoked,
        Self::Expired,
        Self::SeatFreed,
        Self::NoSeat,
        Self::SeatLimit,
        Self::AddOnKey,
        Self::TrialCode,
        Self::MalformedAddOn,
        Self::UnknownAddOn,
        Self::AddOnElsewhere,
        Self::AddOnRefunded,
        Self::AddOnNotPossible,
        Self::MalformedTrialCode,
        Self::UnknownTrialCode,
        Self::TrialCodeUsedUp,
        Self::TrialsOfTheDay,
        Self::TrialElsewhere,
        Self::TrialConverted,
        Self::Unproven,
    ];

    /// The reason that the signed denial gives.
    #[must_use]
    pub fn reason(self) -> DenialReason {
        match self {
            Self::MalformedKey | Self::UnknownKey => DenialReason::UnknownLicense,
            Self::Suspended => DenialReason::Suspended,
            Self::Revoked => DenialReason::Revoked,
            Self::Expired => DenialReason::Expired,
            Self::SeatFreed | Self::NoSeat => DenialReason::HardwareMismatch,
            Self::SeatLimit => DenialReason::SeatLimit,
            Self::AddOnKey => DenialReason::AddOnKey,
            Self::TrialCode => DenialReason::TrialCode,
            Self::MalformedAddOn | Self::UnknownAddOn => DenialReason::UnknownAddOn,
            Self::AddOnElsewhere => DenialReason::AddOnElsewhere,
            Self::AddOnRefunded => DenialReason::AddOnRefunded,
            Self::AddOnNotPossible => DenialReason::AddOnNotPossible,
            Self::MalformedTrialCode | Self::UnknownTrialCode => DenialReason::UnknownTrialCode,
            Self::TrialCodeUsedUp => DenialReason::TrialCodeUsedUp,
            Self::TrialsOfTheDay => DenialReason::TrialsOfTheDay,
            Self::TrialElsewhere => DenialReason::TrialElsewhere,
            Self::TrialConverted => DenialReason::TrialConverted,
            Self::Unproven => DenialReason::Unproven,
        }
    }

    /// Whether it is based on a decision in the database, or on the key alone. Everything else may
    /// have changed after the backup: a key may have been issued, a license renewed, or a seat
    /// taken or moved.
    #[must_use]
    pub fn is_recorded_decision(self) -> bool {
        match self {
            Self::MalformedKey
            | Self::Suspended
            | Self::Revoked
            | Self::SeatFreed
            | Self::AddOnKey
            | Self::TrialCode
            | Self::MalformedAddOn
            | Self::AddOnElsewhere
            | Self::AddOnRefunded
            | Self::MalformedTrialCode
            | Self::TrialElsewhere
            | Self::TrialConverted => true,
            Self::UnknownKey
            | Self::Expired
            | Self::NoSeat
            | Self::SeatLimit
            | Self::UnknownAddOn
            | Self::AddOnNotPossible
            | Self::UnknownTrialCode
            | Self::TrialCodeUsedUp
            | Self::TrialsOfTheDay
            | Self::Unproven => false,
        }
    }

    /// Whether it is about an add-on key, and says nothing about the license that it was to add to.
    #[must_use]
    pub fn is_about_add_on(self) -> bool {
        match self {
            Self::AddOnKey
            | Self::MalformedAddOn
            | Self::UnknownAddOn
            | Self::AddOnElsewhere
            | Self::AddOnRefunded
            | Self::AddOnNotPossible => true,
            Self::MalformedKey
            | Self::UnknownKey
            | Self::Suspended
            | Self::Revoked
            | Self::Expired
            | Self::SeatFreed
            | Self::NoSeat
            | Self::SeatLimit
            | Self::TrialCode
            | Self::MalformedTrialCode
            | Self::UnknownTrialCode
            | Self::TrialCodeUsedUp
            | Self::TrialsOfTheDay
            | Self::TrialElsewhere
            | Self::TrialConverted
            | Self::Unproven => false,
        }
    }

    /// Whether it may be signed for a site that may know a lost number.
    #[must_use]
    pub fn may_be_signed(self, knows_lost_number: bool) -> bool {
        self.is_recorded_decision() || !knows_lost_number
    }
}

/// Whether a call takes a seat for a machine that holds none. `is_recorded` says whether
/// the database knows a freed seat of the machine. A site that has lost its seat with the
/// database takes it again as if it had been activated again, with the same limits.
#[must_use]
pub fn takes_seat(call: Call, is_recorded: bool, knows_lost_number: bool) -> bool {
    match call {
        Call::Activate | Call::Trial => true,
        Call::Validate | Call::Heartbeat => knows_lost_number && !is_recorded,
        _ => false,
    }
}

/// Whether a machine with an excess seat is extended once more, because its site knows a lost number:
/// the database may lack a later amendment with more seats. Each seat is excused once for each
/// amendment, because the number may be invented. `excused` is the last amendment that it was
/// excused from, and `newest` the newest one of the license.
#[must_use]
pub fn is_excused(knows_lost_number: bool, excused: Option<u32>, newest: u32) -> bool {
    knows_lost_number && excused.is_none_or(|excused| excused < newest)
}

/// The number of the next document: greater than the last number of the seat, and greater than a
/// lost number that the site knows. Otherwise the site would treat the document as a replay.
#[must_use]
pub fn next_number(last: u64, known_lost: Option<u64>, now: DateTime<Utc>) -> u64 {
    let newest = last.max(known_lost.unwrap_or_default());
    number_at(now).max(newest.saturating_add(1))
}

/// The sequence number that belongs to an instant.
#[must_use]
pub fn number_at(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or_default()
}
