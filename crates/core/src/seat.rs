//! Which machines may hold a license at the same time.
//!
//! A signed lease cannot be recalled: a machine may run until its lease ends, regardless of its
//! seat. So a freed seat counts until then. Another machine gets the seat earlier in two ways: by
//! a move, for which the license has a budget, or because the vendor's staff release the seat
//! after confirming how long both machines may run.
//!
//! A machine that has died cannot give its seat back. A held seat whose machine is silent ([`silent`])
//! is therefore passed on by a move, too.
//!
//! Signed leases that have not ended are therefore never more than the seats,
//! the overlaps of moves and the overlaps that staff released.
//!
//! A license may later get fewer seats than are taken. The seats that count are then ordered by the
//! time at which they were taken, and those beyond the license's number are excess: nothing that
//! runs is stopped immediately, but their leases are not extended. Until these have ended, more
//! leases are valid than the license has seats.

use chrono::{DateTime, TimeDelta, Utc};

/// Default number of moves in a period.
pub const DEFAULT_MOVES: u32 = 3;
/// Default length of the period, in days.
pub const DEFAULT_MOVES_PERIOD_DAYS: u32 = 365;
/// Maximum number of seats of a license.
pub const MAX_SEATS: u32 = 1_000_000;
/// Maximum number of moves in a period.
pub const MAX_MOVES: u32 = 1000;
/// Maximum length of the period, in days.
pub const MAX_MOVES_PERIOD_DAYS: u32 = 3650;

/// How long a machine that holds a seat has not called before its seat may be passed on.
pub const SILENT_FOR: TimeDelta = TimeDelta::hours(24);

/// Whether a machine that holds a seat is silent: its newest lease should have been extended before
/// `now`, and it has not called for [`SILENT_FOR`]. It may still run within its grace period.
#[must_use]
pub fn silent(
    valid_until: Option<DateTime<Utc>>,
    last_seen_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> bool {
    valid_until.is_some_and(|end| end < now) && last_seen_at < now - SILENT_FOR
}

/// One machine's seat, as far as the rules need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatState {
    /// Whether the machine holds the seat now.
    pub is_held: bool,
    /// The greatest `exp` of any document ever signed for the seat.
    pub signed_until: Option<DateTime<Utc>>,
    /// How the place of a freed seat was passed on before its lease ended.
    pub overlap: Option<Overlap>,
}

/// How the place of a freed seat was passed on before its lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// Another machine took it, which spent a move.
    Moved,
    /// The vendor's staff released it.
    Released,
}

impl Overlap {
    /// A short code for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Released => "released",
        }
    }
}

impl SeatState {
    /// Whether a signed lease of the machine is still valid. The end is inclusive.
    #[must_use]
    pub fn may_run(&self, now: DateTime<Utc>) -> bool {
        self.signed_until.is_some_and(|end| now <= end)
    }

    /// Whether the seat is freed but still counts until its lease ends.
    #[must_use]
    pub fn is_waiting(&self, now: DateTime<Utc>) -> bool {
        !self.is_held && self.overlap.is_none() && self.may_run(now)
    }

    /// Whether the seat counts against the license's number of seats.
    #[must_use]
    pub fn occupies(&self, now: DateTime<Utc>) -> bool {
        self.is_held || self.is_waiting(now)
    }

    /// How far the lease of a machine that holds a seat may be extended. A seat `is_excess` if at
    /// least as many seats as the license has are occupied and were taken earlier.
    #[must_use]
    pub fn extension(&self, is_excess: bool, now: DateTime<Utc>) -> Extension {
        match self.signed_until {
            _ if !is_excess => Extension::Full,
            Some(end) if now <= end => Extension::Until(end),
            _ => Extension::Ended,
        }
    }
}

/// How far the lease of a machine that holds a seat may be extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// As far as the license allows.
    Full,
    /// Not beyond the end of what is signed, which is this instant.
    Until(DateTime<Utc>),
    /// No further, and what was signed has ended: the seat is freed.
    Ended,
}

/// How often a seat may move to another machine while the old machine's lease
/// runs. A term of the license.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferBudget {
    /// Moves in any period.
    pub moves: u32,
    /// Length of the period, in days.
    pub period_days: u32,
}

impl TransferBudget {
    /// Moves after this instant count.
    #[must_use]
    pub fn counts_after(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now.checked_sub_signed(TimeDelta::days(i64::from(self.period_days)))
            .unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// Moves left, if this many were spent after [`Self::counts_after`].
    #[must_use]
    pub fn left(&self, spent: u64) -> u32 {
        self.moves
            .saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX))
    }
}

/// The occupancy of a license from the view of a machine that requests a seat. The machine's own
/// former seat is not counted.
#[derive(Clone, Copy, Debug)]
pub struct Occupancy<'a> {
    /// Seats of the license.
    pub seats: u32,
    /// Seats that other machines hold.
    pub held: u64,
    /// Seats of other machines that are waiting for their leases to end.
    pub waiting: u64,
    /// When the leases of these seats end, soonest first: at least the first [`Occupancy::excess`]
    /// of them.
    pub waiting_until: &'a [DateTime<Utc>],
    /// The number of seats that other machines hold and that are [`silent`]: all, or at least
    /// [`Occupancy::excess`] of them.
    pub silent: usize,
    /// Moves left.
    pub moves_left: u32,
}

/// Why a machine gets no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatLimit {
    /// Other machines hold all seats. None of them is silent, or no move is left.
    AllHeld,
    /// A freed seat still counts, and no moves are left.
    NoMovesLeft {
        /// When enough leases have ended.
        until: DateTime<Utc>,
    },
    /// A freed seat still counts, and its lease runs too long for a move.
    LongLease {
        /// When enough leases have ended.
        until: DateTime<Utc>,
    },
}

impl Occupancy<'_> {
    /// The number of places that are missing for one more machine.
    #[must_use]
    pub fn excess(&self) -> u64 {
        (self.held + self.waiting + 1).saturating_sub(u64::from(self.seats))
    }

    /// The number of waiting seats whose leases end by `longest_move`, so that their places can be
    /// passed on.
    #[must_use]
    pub fn movable(&self, longest_move: DateTime<Utc>) -> usize {
        self.waiting_until.partition_point(|it| *it <= longest_move)
    }

    /// Whether a machine may take a seat. Returns the number of moves that this spends, which is
    /// the number of seats whose places are passed on: waiting ones, those whose leases end soonest,
    /// and then silent ones.
    ///
    /// `longest_move` is the latest end of a lease that a move may leave running: lease and grace
    /// from now.
    ///
    /// # Errors
    /// One [`SeatLimit`] for each reason that it may not.
    pub fn take(&self, longest_move: DateTime<Utc>) -> Result<usize, SeatLimit> {
        let excess = self.excess();
        if excess == 0 {
            return Ok(0);
        }
        let excess = usize::try_from(excess).unwrap_or(usize::MAX);
        let has_moves = excess <= usize::try_from(self.moves_left).unwrap_or(usize::MAX);
        let waiting = self.movable(longest_move).min(excess);
        let of_silent = excess - waiting;
        let last = self.waiting_until.get(excess - 1);
        match last {
            _ if of_silent <= self.silent && has_moves => Ok(excess),
            Some(&until) if until > longest_move => Err(SeatLimit::LongLease { until }),
            Some(&until) => Err(SeatLimit::NoMovesLeft { until }),
            None => Err(SeatLimit::AllHeld),
        }
    }
}
