//! The answer to "may this feature be used?".

use std::fmt;

use license_core::announcement::NOT_SIGNED;
use license_core::reason_words::for_refused_user;

/// The answer to "may this feature be used?".
///
/// Behind a layer of the gate, it is in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Decision {
    /// Whether the feature is available.
    pub available: bool,
    /// Why it is or is not available.
    pub reason: Reason,
}

/// Declares the reasons together with their codes.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:expr,)*) => {
        /// Why a feature is available or not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// A code for programs, the same as in the License Client.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

reasons! {
    /// Core features are always available.
    Core = "core",
    /// The license lists the feature.
    Licensed = "licensed",
    /// The license lists the feature and is in its grace period.
    GracePeriod = "grace_period",
    /// There is no license.
    NoLicense = "no_license",
    /// The license does not list the feature.
    NotInLicense = "not_in_license",
    /// The license grants the feature at a later time.
    StartsLater = "starts_later",
    /// The license no longer grants the feature.
    Ended = "ended",
    /// The license lists the feature, but it is switched off on this site.
    SwitchedOff = "switched_off",
    /// The license grants the feature, but does not cover the installed release.
    UpdateNotCovered = "update_not_covered",
    /// The license has expired.
    LicenseExpired = "license_expired",
    /// The grace period has expired.
    GracePeriodExpired = "grace_period_expired",
    /// The vendor has revoked the license.
    Revoked = "revoked",
    /// The vendor has suspended the license.
    Suspended = "suspended",
    /// The License Server reports that the license has expired.
    Expired = "expired",
    /// This machine does not hold a seat.
    HardwareMismatch = "hardware_mismatch",
    /// All seats are taken by other machines.
    SeatLimit = "seat_limit",
    /// The License Server does not know the license.
    UnknownLicense = "unknown_license",
    /// The site has deactivated the license.
    Deactivated = "deactivated",
    /// The License Client announced the feature, but the signed license does not prove
    /// it.
    NotSigned = NOT_SIGNED,
    /// There is no contact with the License Client, and the chosen policy refuses the
    /// feature: see [`crate::WithoutContact`].
    NoContact = "no_contact",
    /// The gateway's routes do not list the path.
    NotListed = "not_listed",
    /// The path is one that no legitimate client sends.
    BadPath = "bad_path",
    /// The path requires no feature.
    NoFeatureNeeded = "no_feature_needed",
    /// A reason of a newer License Client that this version does not know.
    Other = "other",
}

impl Reason {
    pub(crate) fn of(code: &str) -> Self {
        let mut all = Self::ALL.iter().copied();
        all.find(|reason| reason.code() == code)
            .unwrap_or(Self::Other)
    }

    /// An English sentence to show to a user who is refused `feature`.
    #[must_use]
    pub fn message(self, feature: &str) -> String {
        for_refused_user(self.code(), feature)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Decision {
    pub(crate) const NONE: Self = Self::no(Reason::NoContact);

    /// The feature is available.
    #[must_use]
    pub const fn yes(reason: Reason) -> Self {
        Self {
            available: true,
            reason,
        }
    }

    /// The feature is not available.
    #[must_use]
    pub const fn no(reason: Reason) -> Self {
        Self {
            available: false,
            reason,
        }
    }
}
