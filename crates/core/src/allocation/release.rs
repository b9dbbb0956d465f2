//! Whether what a seat no longer needs may be used by other seats before it has ended.
//!
//! If the newest document of a seat carries less than an older one, the older one may be used until
//! it ends. Releasing the excess is like passing on the place of a seat: for that time both may use
//! the amount, so it spends a move, and only leases that end soon are released.

use chrono::{DateTime, Utc};

use super::{Holding, second};

/// What the older documents of a seat carry beyond its newest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The greatest amount.
    pub amount: u64,
    /// The last instant at which the older documents carry more: until then, both the seat and
    /// those that get the amount may use it. Then it is free without a move.
    pub until: DateTime<Utc>,
}

impl Excess {
    /// The excess of a seat; `None` if there is none.
    #[must_use]
    pub fn of(holding: &Holding, now: DateTime<Utc>) -> Option<Self> {
        let now = second(now);
        let (signed, newest) = (holding.signed(), holding.newest());
        let mut exceeding = signed.raw().iter().filter(|step| {
            let is_running = now <= step.until;
            is_running && newest.at_second(step.until) < step.amount
        });
        // The difference is greatest now, or where a step of the newest document has ended.
        let ended = newest.raw().iter().map(|step| step.until + 1);
        let instants = ended.filter(|at| now < *at).chain([now]);
        let amounts = instants.map(|at| signed.at_second(at).saturating_sub(newest.at_second(at)));
        Some(Self {
            until: super::instant(exceeding.next_back()?.until),
            amount: amounts.max()?,
        })
    }
}

/// Why an excess is not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseRefused {
    /// There is none.
    #[error("the newest document of the seat carries as much as its older ones")]
    NoExcess,
    /// No moves are left.
    #[error("no moves are left; the excess becomes free at {until}")]
    NoMovesLeft {
        /// When it has ended.
        until: DateTime<Utc>,
    },
    /// The older documents run too long for a move: staff can release the excess.
    #[error("the older documents run too long for a move; the excess becomes free at {until}")]
    LongLease {
        /// When it has ended.
        until: DateTime<Utc>,
    },
}

/// Whether the excess of a seat may be released, for all its counts together. This spends one move.
/// `longest_move` is the latest end of a lease that a move may leave running, as in
/// [`Occupancy::take`](crate::seat::Occupancy::take). Returns until when both may use it.
///
/// # Errors
/// The first [`ReleaseRefused`] that applies.
pub fn check_release(
    excesses: impl IntoIterator<Item = Excess>,
    moves_left: u32,
    longest_move: DateTime<Utc>,
) -> Result<DateTime<Utc>, ReleaseRefused> {
    let until = excesses.into_iter().map(|it| it.until).max();
    let until = until.ok_or(ReleaseRefused::NoExcess)?;
    match moves_left {
        _ if longest_move < until => Err(ReleaseRefused::LongLease { until }),
        0 => Err(ReleaseRefused::NoMovesLeft { until }),
        _ => Ok(until),
    }
}
