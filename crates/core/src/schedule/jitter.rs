//! Random parts of waits, so that a fleet does not call in step.

use chrono::TimeDelta;

/// The part by which a regular interval may be shortened.
pub(super) const SHORTENED_BY: f64 = 0.1;

/// A random number from 0 (included) to 1 (not included).
#[derive(Clone, Copy, Debug)]
pub struct Jitter(pub(super) f64);

impl Jitter {
    /// Creates one from 32 random bits.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        Self(f64::from(bits) / (f64::from(u32::MAX) + 1.0))
    }
}

/// The interval, shortened by up to a tenth.
pub(super) fn shortened(interval: TimeDelta, jitter: Jitter) -> TimeDelta {
    scale(interval, 1.0 - SHORTENED_BY * jitter.0)
}

/// The span, multiplied.
pub(super) fn scale(span: TimeDelta, factor: f64) -> TimeDelta {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "spans are hours, far below 2^52 ms, and fractions of a millisecond do not matter"
    )]
    TimeDelta::milliseconds((span.num_milliseconds() as f64 * factor) as i64)
}
