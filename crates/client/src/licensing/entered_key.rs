//! Codes of ours that were entered as license keys by mistake.

use license_core::issued_code::{CodeKind, KeyKind};

/// A code of ours that was entered as a license key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotALicenseKey {
    /// It is an add-on key.
    #[error(
        "This is an add-on key, which adds to a license. Activate the license key first, then redeem \
         this key with 'Redeem an add-on key' in the console or 'license-client redeem'"
    )]
    AddOn,
    /// It is a trial code.
    #[error(
        "This is a trial code. Start the trial with 'Start a trial' in the console or \
         'license-client start-trial'"
    )]
    Trial,
}

/// Checks that a text that was entered as a license key is not a code of ours for something else. It
/// may be a key of another vendor.
///
/// # Errors
/// [`NotALicenseKey`].
pub fn check_is_no_code(entered: &str) -> Result<(), NotALicenseKey> {
    match KeyKind::of(entered) {
        Some(KeyKind::Code(CodeKind::AddOn)) => Err(NotALicenseKey::AddOn),
        Some(KeyKind::Code(CodeKind::Trial)) => Err(NotALicenseKey::Trial),
        Some(KeyKind::License) | None => Ok(()),
    }
}
