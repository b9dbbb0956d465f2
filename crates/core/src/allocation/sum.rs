//! The sum of the staircases of several seats.

use super::Staircase;
use super::staircase::{Step, amount_at};

/// A sum of staircases, with any number of steps. A sum that is too large is the greatest number.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum(Vec<Step>);

impl Sum {
    pub(super) fn of<'a>(staircases: impl IntoIterator<Item = &'a Staircase>) -> Self {
        let mut drops = Vec::new();
        for staircase in staircases {
            let steps = staircase.raw();
            drops.extend(steps.iter().enumerate().map(|(place, step)| Step {
                until: step.until,
                amount: step.amount - steps.get(place + 1).map_or(0, |next| next.amount),
            }));
        }
        drops.sort_unstable_by_key(|drop| std::cmp::Reverse(drop.until));
        let mut steps: Vec<Step> = Vec::with_capacity(drops.len());
        let mut sum = 0_u64;
        for drop in drops {
            sum = sum.saturating_add(drop.amount);
            match steps.last_mut() {
                Some(last) if last.until == drop.until => last.amount = sum,
                _ => steps.push(Step {
                    until: drop.until,
                    amount: sum,
                }),
            }
        }
        steps.reverse();
        Self(steps)
    }

    pub(super) fn at_second(&self, at: i64) -> u64 {
        amount_at(&self.0, at)
    }

    /// The last second of each step, in order.
    pub(super) fn ends(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.iter().map(|step| step.until)
    }
}
