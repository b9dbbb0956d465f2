//! Random numbers from the operating system.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// 32 random bytes in base64url: unguessable and unique.
#[must_use]
pub fn nonce() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// New random bytes.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "nothing is safe without random bytes, and getrandom can fail only during early boot"
)]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
