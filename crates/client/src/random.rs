//! Randomness, from the operating system.

use license_core::schedule::jitter::Jitter;
pub use license_service::random::{bytes, nonce};

/// A new secret of an installation.
#[must_use]
pub fn secret() -> [u8; 64] {
    bytes()
}

/// A new jitter.
#[must_use]
pub fn jitter() -> Jitter {
    Jitter::from_bits(u32::from_le_bytes(bytes()))
}
