//! The answer to "may this feature be used?".

use std::fmt;

use license_core::announcement::NOT_SIGNED;
use license_core::gate::in_words;

/// The answer to "may this feature be used?".
///
/// Behind a layer of the gate it is in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Decision {
    /// Whether it may.
    pub available: bool,
    /// Why, or why not.
    pub reason: Reason,
}

/// Declares the reasons and their codes side by side.
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

            /// A short word that programs can compare, the same that the
            /// License Client uses.
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
    /// The license lists the feature, and the grace period carries it.
    GracePeriod = "grace_period",
    /// There is no license.
    NoLicense = "no_license",
    /// The license does not list the feature.
    NotInLicense = "not_in_license",
    /// The license lists the feature, but it is switched off on this site.
    SwitchedOff = "switched_off",
    /// The license has expired.
    LicenseExpired = "license_expired",
    /// The grace period has passed.
    GracePeriodExpired = "grace_period_expired",
    /// The vendor has taken the license back for good.
    Revoked = "revoked",
    /// The vendor has taken the license back for the time being.
    Suspended = "suspended",
    /// The License Server says that the license has expired.
    Expired = "expired",
    /// This machine holds no seat of the license.
    HardwareMismatch = "hardware_mismatch",
    /// All seats are taken by other machines.
    SeatLimit = "seat_limit",
    /// The License Server knows no such license.
    UnknownLicense = "unknown_license",
    /// The site has given the license up.
    Deactivated = "deactivated",
    /// The License Client calls the feature available, and the signed license
    /// does not prove it.
    NotSigned = NOT_SIGNED,
    /// There is no contact with the License Client, and that is what the
    /// gateway has chosen for this: see [`crate::WithoutContact`].
    NoContact = "no_contact",
    /// The gateway's table does not list the path.
    NotListed = "not_listed",
    /// The path is none that an honest client sends.
    BadPath = "bad_path",
    /// The path needs no feature.
    NoFeatureNeeded = "no_feature_needed",
    /// A reason that a newer License Client has and this version does not
    /// know.
    Other = "other",
}

impl Reason {
    pub(crate) fn of(code: &str) -> Self {
        let mut all = Self::ALL.iter().copied();
        all.find(|reason| reason.code() == code)
            .unwrap_or(Self::Other)
    }

    /// A sentence in English that a user may be shown who is refused `feature`.
    #[must_use]
    pub fn message(self, feature: &str) -> String {
        in_words(self.code(), feature)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Decision {
    pub(crate) const NONE: Self = Self::no(Reason::NoContact);

    /// The feature may be used.
    #[must_use]
    pub const fn yes(reason: Reason) -> Self {
        Self {
            available: true,
            reason,
        }
    }

    /// The feature may not be used.
    #[must_use]
    pub const fn no(reason: Reason) -> Self {
        Self {
            available: false,
            reason,
        }
    }
}
