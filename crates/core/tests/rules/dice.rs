//! Reproducible randomness.

use chrono::TimeDelta;

/// A small random number generator (Marsaglia, "Xorshift RNGs").
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

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

/// A number from the environment.
#[expect(clippy::disallowed_methods, reason = "a test has no config.rs")]
pub(crate) fn number(variable: &str, default: u64) -> u64 {
    let number = std::env::var(variable).ok();
    number.map_or(default, |number| number.parse().unwrap())
}
