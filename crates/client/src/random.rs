//! Randomness, from the operating system.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use license_core::schedule::Jitter;

/// A new `X-License-Nonce`: 32 random bytes in base64url.
#[must_use]
pub fn nonce() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

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

/// New random bytes.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "without randomness nothing here is safe; the operating system fails only before it has booted"
)]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
