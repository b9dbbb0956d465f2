//! Reproducible randomness.

use license_core::schedule::jitter::Jitter;

/// A random number generator (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014: `SplitMix64`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The numbers of one site of a fleet.
    pub(super) fn of_site(seed: u64, site: u64) -> Self {
        let mut fleet = Self(seed);
        Self(
            fleet
                .next()
                .wrapping_add(site)
                .wrapping_mul(0xd134_2543_de82_ef95),
        )
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn jitter(&mut self) -> Jitter {
        let [_, _, _, _, bits @ ..] = self.next().to_le_bytes();
        Jitter::from_bits(u32::from_le_bytes(bits))
    }

    /// A number from 0 (included) to `end` (not included).
    pub(super) fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or_default()
    }
}
