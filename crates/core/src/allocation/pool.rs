//! What the other seats leave of a license's count.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use super::staircase::Step;
use super::sum::Sum;
use super::{CLOCK_MARGIN, Holding, Staircase, Totals, second};

/// One count of a license, from the view of one seat: the total, and what all other seats hold.
#[derive(Clone, Debug)]
pub struct Pool<'a> {
    pub(super) totals: &'a Totals,
    /// What documents of the other seats carry.
    pub(super) signed: Sum,
    /// The same, or what is reserved for each of them, if that is more.
    pub(super) claimed: Sum,
    /// The second at which the decision is made.
    pub(super) now: i64,
}

/// What another seat claims.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// What its documents carry, even after it was freed, as long as its place was not passed on.
    pub signed: &'a Staircase,
    /// What is reserved for it, if it holds a seat.
    pub reserved: Option<&'a Staircase>,
}

impl<'a> From<&'a Holding> for Claim<'a> {
    fn from(holding: &'a Holding) -> Self {
        Self {
            signed: holding.signed(),
            reserved: None,
        }
    }
}

impl<'a> Pool<'a> {
    /// What `others` leave of `totals` at `now`. `totals` must begin at `now`.
    #[must_use]
    pub fn new(
        totals: &'a Totals,
        others: impl IntoIterator<Item = Claim<'a>>,
        now: DateTime<Utc>,
    ) -> Self {
        let others: Vec<Claim<'_>> = others.into_iter().collect();
        let claims = others.iter().map(|it| match it.reserved {
            None => Cow::Borrowed(it.signed),
            Some(reserved) => Cow::Owned(it.signed.joined(reserved)),
        });
        let claims: Vec<Cow<'_, Staircase>> = claims.collect();
        Self {
            totals,
            signed: Sum::of(others.iter().map(|it| it.signed)),
            claimed: Sum::of(claims.iter().map(AsRef::as_ref)),
            now: second(now),
        }
    }

    /// What is neither signed nor reserved for another seat now. The greatest number if the total is
    /// unlimited.
    #[must_use]
    pub fn unallocated(&self) -> u64 {
        self.left(&self.claimed, self.now)
    }

    /// An equal share of this, if other seats occupy `occupied` of the license's `seats`.
    #[must_use]
    pub fn share(&self, seats: u32, occupied: u64) -> u64 {
        let places = u64::from(seats).saturating_sub(occupied).max(1);
        self.unallocated().div_ceil(places)
    }

    /// The first second at which documents may still be in use.
    pub(super) fn first_second(&self) -> i64 {
        self.now - CLOCK_MARGIN.num_seconds()
    }

    /// What is left for a document that is signed at the second `at`, if nothing else is signed.
    pub(super) fn left(&self, others: &Sum, at: i64) -> u64 {
        let taken = others.at_second(at - CLOCK_MARGIN.num_seconds());
        self.totals.number_at(at).saturating_sub(taken)
    }

    /// What is left throughout the time from now on, until each second up to `until`, but at most
    /// `cap`. As what others hold never increases, it decreases only with the total.
    pub(super) fn left_throughout(&self, others: &Sum, cap: u64, until: i64) -> Staircase {
        let mut left = self.left(others, self.now).min(cap);
        let mut steps = Vec::new();
        let after_now = |it: &(i64, _)| self.now < it.0 && it.0 <= until;
        for (at, total) in self.totals.changes().filter(after_now) {
            let total = total.number().unwrap_or(u64::MAX);
            let then = total.saturating_sub(others.at_second(at)).min(left);
            if then < left {
                steps.push(Step {
                    until: at - 1,
                    amount: left,
                });
                left = then;
            }
        }
        steps.push(Step {
            until,
            amount: left,
        });
        steps.retain(|step| self.now <= step.until);
        Staircase::of_steps(steps)
    }
}
