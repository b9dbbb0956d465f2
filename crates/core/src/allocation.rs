//! How the counts of a license are divided among its seats.
//!
//! Counts belong to the license. If they are [`CountRule::Pooled`], the document of each seat
//! carries an allocation: for each count, a [`Staircase`] of amounts that never increase until the
//! document ends. A signed document cannot be recalled, so all documents of a seat that have not
//! ended count together, as the greatest of their amounts at each instant: a [`Holding`].
//!
//! - The sum of all holdings never exceeds the license's total at any instant, because each
//!   document is signed within what the other seats leave at every instant until its end. This
//!   depends on nothing that happens later.
//! - A seat keeps what its documents hold: the other seats were signed within the rest.
//! - Unused amounts return when the documents that carry them have ended. Before that, another seat
//!   gets them only by a move: the place of the seat is passed on, or the excess of its older
//!   documents is released. Passed-on amounts are kept separately and no longer count.
//! - If an amendment lowers the total, the sum may exceed it until documents have ended, but no new
//!   document increases the sum beyond the total. Each seat can renew what its newest document
//!   carries until that would have ended anyway.
//!
//! Documents end at whole seconds, and totals change at whole seconds. Other clocks may be behind
//! the clock of the server that decides, so documents count for [`CLOCK_MARGIN`] after their end.

mod demand;
mod grant;
mod holding;
mod pool;
mod release;
mod reservation;
mod staircase;
mod sum;
mod totals;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::signing_clock::MAX_DATABASE_SKEW;

pub use demand::{Asked, Demand, Wanted};
pub use grant::{Allocation, Carried};
pub use holding::Holding;
pub use pool::{Claim, Pool};
pub use release::{Excess, ReleaseRefused, check_release};
pub use reservation::ReservationRefused;
pub use staircase::{InvalidStaircase, MAX_STEPS, Staircase};
pub use totals::Totals;

/// How long documents count after their end: a server signs while its clock differs from the
/// database's clock by no more than this.
pub const CLOCK_MARGIN: TimeDelta = MAX_DATABASE_SKEW;

/// Whether the seats of a license share its counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountRule {
    /// Each seat gets the whole count. Licenses that do not state a rule are from before there were
    /// allocations.
    #[default]
    PerSeat,
    /// All seats together get the count.
    Pooled,
}

/// Counts that are pooled stay pooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("counts is pooled and cannot be changed back to per_seat; issue a new license")]
pub struct AlreadyPooled;

impl CountRule {
    /// A code for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PerSeat => "per_seat",
            Self::Pooled => "pooled",
        }
    }

    /// The rule with this code.
    #[must_use]
    pub fn of(code: &str) -> Option<Self> {
        [Self::PerSeat, Self::Pooled]
            .into_iter()
            .find(|rule| rule.as_str() == code)
    }

    /// Checks whether an amendment may change the rule to `next`. Documents that were signed for
    /// whole counts stay outside the pool: their counts were sold for each seat, and they end at the
    /// latest with their leases.
    ///
    /// # Errors
    /// [`AlreadyPooled`] if the counts would no longer be pooled.
    pub fn check_change(self, next: Self) -> Result<(), AlreadyPooled> {
        match (self, next) {
            (Self::Pooled, Self::PerSeat) => Err(AlreadyPooled),
            _ => Ok(()),
        }
    }
}

/// The second of an instant, since 1970.
fn second(at: DateTime<Utc>) -> i64 {
    at.timestamp()
}

/// The instant at which a second begins.
fn instant(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap_or(match second {
        ..0 => DateTime::<Utc>::MIN_UTC,
        _ => DateTime::<Utc>::MAX_UTC,
    })
}
