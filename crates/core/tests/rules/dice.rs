//! Reproducible randomness.

use chrono::TimeDelta;

/// A small random number generator (Marsaglia, "Xorshift RNGs").
pub(crate) struct Dice(pub(super) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    pub(crate) fn up_to(&mut self, most: TimeDelta) -> TimeDelta {
        let most = u64::try_from(most.num_seconds()).unwrap();
        TimeDelta::seconds(i64::try_from(self.roll(most + 1)).unwrap())
    }
}
