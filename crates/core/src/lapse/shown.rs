//! What a lapsed site is shown in its console, by its API and by its commands.

use crate::document::VerifiedDenial;
use crate::license::Expiry;
use crate::reason_words::for_operator;

use super::LapseReason;

/// The standing of a lapsed site, for a command.
pub const SUMMARY: &str = "Lapsed: licensed features are off, core features stay on.";

/// The headline of the console.
#[must_use]
pub fn headline(why: &LapseReason) -> &str {
    match why {
        LapseReason::Denied(_) => "The vendor has withdrawn the license",
        LapseReason::LicenseExpired | LapseReason::GracePeriodExpired => for_operator(why.code()),
    }
}

/// The message of the API: of a denial the vendor's own, and of an expired license with the date.
#[must_use]
pub fn message(
    why: &LapseReason,
    denial: Option<&VerifiedDenial>,
    expiry: Option<Expiry>,
) -> String {
    match why {
        LapseReason::GracePeriodExpired => {
            "License validation failed and grace period has expired".to_owned()
        }
        LapseReason::Denied(reason) => match denial {
            Some(denial) => denial.claims().message.clone(),
            None => reason.as_str().to_owned(),
        },
        LapseReason::LicenseExpired => match expiry {
            Some(Expiry::At(at)) => format!(
                "The license expired on {}; renew it with your vendor",
                at.format("%Y-%m-%d")
            ),
            _ => "The license has expired; renew it with your vendor".to_owned(),
        },
    }
}

/// What an operator can do about a license that has lapsed for this reason.
#[must_use]
pub fn advice(code: &str) -> &'static str {
    match code {
        "license_expired" | "expired" => {
            "Ask your vendor to renew it. The License Client picks up the renewal automatically."
        }
        "grace_period_expired" => {
            "Restore the connection to the License Server, or renew by file. Licensed features \
             return as soon as the license is confirmed."
        }
        "revoked" => "Contact your vendor. You can activate another license at any time.",
        "suspended" => {
            "Contact your vendor. Licensed features return as soon as the license is reinstated."
        }
        "hardware_mismatch" => {
            "If this machine replaces another one, activate the license key again. Your vendor \
             can free the old seat."
        }
        "seat_limit" => {
            "Deactivate the license on a machine that no longer needs it, or ask your vendor to \
             free a seat."
        }
        "unknown_license" => "Check the license key, or ask your vendor for the right one.",
        _ => "Contact your vendor, and activate the license key again.",
    }
}
