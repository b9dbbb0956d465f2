//! Whether an amount may be reserved for a seat.

use chrono::{DateTime, Utc};

use super::{Pool, Staircase, instant, second};
use crate::amendment::LAST_SECOND;

/// Why an amount cannot be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReservationRefused {
    /// Other seats hold too much, or the total is too low.
    #[error(
        "{amount} cannot be reserved: only {free} are free at {at}; reserve at most this many, or \
         end the reservation earlier"
    )]
    Exceeds {
        /// The amount to reserve.
        amount: u64,
        /// The first instant at which it is not free.
        at: DateTime<Utc>,
        /// How much is free then.
        free: u64,
    },
    /// It would have ended.
    #[error("the reservation would end at {0}, which is in the past; choose a later end")]
    Ended(DateTime<Utc>),
}

impl Pool<'_> {
    /// Reserves `amount` for the seat from now on until `until`; `None` if it has no end. The totals
    /// of the pool must include all changes until then.
    ///
    /// It replaces the seat's former reservation. What the seat holds is part of it, not added.
    ///
    /// # Errors
    /// [`ReservationRefused`] if at any instant the total is exceeded by the amount together with
    /// what is signed or reserved for all other seats.
    pub fn reserve(
        &self,
        amount: u64,
        until: Option<DateTime<Utc>>,
    ) -> Result<Staircase, ReservationRefused> {
        let end = second(until.unwrap_or(LAST_SECOND));
        if let Some(until) = until.filter(|_| end < self.now) {
            return Err(ReservationRefused::Ended(until));
        }
        let free = self.left_throughout(&self.claimed, amount, end);
        if amount > 0 && free.at_second(end) < amount {
            let fits = free.raw().iter().rev().find(|step| step.amount == amount);
            let at = fits.map_or(self.now, |step| step.until + 1);
            return Err(ReservationRefused::Exceeds {
                amount,
                at: instant(at),
                free: free.at_second(at),
            });
        }
        Ok(Staircase::level(amount, instant(end)))
    }
}
