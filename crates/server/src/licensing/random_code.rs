//! New keys and codes, which cannot be guessed.

use license_core::issued_code::{CodeKind, IssuedCode};
use license_core::license_key::LicenseKey;

/// The operating system returned no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system returned no random bytes: {0}")]
pub struct NoRandomness(#[from] getrandom::Error);

/// A new license key.
///
/// # Errors
/// [`NoRandomness`].
pub fn random_key() -> Result<LicenseKey, NoRandomness> {
    random(LicenseKey::from_random)
}

/// A new code.
///
/// # Errors
/// [`NoRandomness`].
pub fn random_code(kind: CodeKind) -> Result<IssuedCode, NoRandomness> {
    random(|bytes| IssuedCode::from_random(kind, bytes))
}

/// More bytes than a key needs, because some are skipped.
fn random<T>(make: impl Fn(&[u8]) -> Option<T>) -> Result<T, NoRandomness> {
    loop {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        if let Some(made) = make(&bytes) {
            return Ok(made);
        }
    }
}
