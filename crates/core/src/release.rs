//! Whether a license covers a release of the product, and what follows if it does not.
//!
//! A license may cover only the releases until a date (`updatesUntil`). What its term `updates` says
//! takes effect only for a release that a signed document names: see
//! [`crate::gate::Entitlements::with_installed_release`]. Core features never depend on it.

use chrono::{DateTime, NaiveDate, NaiveTime, SubsecRound as _, Utc};

use crate::amendment::UpdateRule;
use crate::entitlement::Period;
use crate::foreign_text;
use crate::license::{Expiry, License};

/// The product whose releases licenses cover.
pub const PRODUCT: &str = "foxsight-central-command";

/// Maximum length of a version in characters.
pub const MAX_VERSION_CHARS: usize = 64;

/// A release of the product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its version, as [`parse_version`] accepts it.
    pub version: String,
    /// When it was released, in whole seconds.
    pub released: DateTime<Utc>,
    /// Whether every license covers it, for example because it is a security fix.
    pub exempt: bool,
}

/// Why a text does not describe a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// Not a version.
    #[error(
        "'{0}' is not a version: expected a digit and then letters, digits, '.', '-', '+' or '_', \
         at most {MAX_VERSION_CHARS} characters, such as 3.2.0"
    )]
    Version(String),
    /// Not a date.
    #[error("'{0}' is not a date: expected a date such as 2027-01-15 or 2027-01-15T12:00:00Z")]
    Date(String),
}

/// A version: at most [`MAX_VERSION_CHARS`] letters, digits and `.-+_`, beginning with a digit.
///
/// # Errors
/// [`ReleaseError::Version`].
pub fn parse_version(text: &str) -> Result<String, ReleaseError> {
    let is_expected = |byte: u8| byte.is_ascii_alphanumeric() || b".-+_".contains(&byte);
    let is_version = text.len() <= MAX_VERSION_CHARS
        && text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(is_expected);
    match is_version {
        true => Ok(text.to_owned()),
        false => Err(ReleaseError::Version(foreign_text::identifier(text))),
    }
}

/// When a release was released: a day, which counts from its beginning in UTC, or an exact time in
/// RFC 3339.
///
/// # Errors
/// [`ReleaseError::Date`].
pub fn parse_released(text: &str) -> Result<DateTime<Utc>, ReleaseError> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    // The library also reads days without leading zeros.
    let day = day.filter(|day| day.to_string() == text);
    let exact = DateTime::parse_from_rfc3339(text).ok();
    day.map(|day| day.and_time(NaiveTime::MIN).and_utc())
        .or(exact.map(|at| at.to_utc().trunc_subsecs(0)))
        .ok_or_else(|| ReleaseError::Date(foreign_text::identifier(text)))
}

/// Whether a license covers a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// It does.
    Covered,
    /// It covers only releases until this instant.
    NotCovered {
        /// The last instant.
        until: DateTime<Utc>,
    },
    /// There is no license, or its `updatesUntil` cannot be read.
    Unknown,
}

impl Coverage {
    /// A code for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::NotCovered { .. } => "not_covered",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether `license` covers `release`: it is exempt, the license covers all releases, or it was
/// released at or before `updatesUntil`.
#[must_use]
pub fn coverage(license: Option<&License>, release: &Release) -> Coverage {
    if release.exempt {
        return Coverage::Covered;
    }
    match license.map(License::updates_until) {
        None | Some(Expiry::Unreadable) => Coverage::Unknown,
        Some(Expiry::Never) => Coverage::Covered,
        Some(Expiry::At(until)) => {
            let covered = Period {
                from: None,
                until: Some(until),
            };
            match covered.contains(release.released) {
                true => Coverage::Covered,
                false => Coverage::NotCovered { until },
            }
        }
    }
}

/// What a release means for a site that runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// Nothing.
    None,
    /// The site is warned.
    Warning,
    /// Licensed features are off.
    FeaturesOff,
}

impl Consequence {
    /// What `release` means for a site with this license. A release of which it is not known
    /// whether it is covered means nothing.
    #[must_use]
    pub fn of(license: Option<&License>, release: &Release) -> Self {
        let rule = license.map_or(UpdateRule::Warn, License::update_rule);
        match (coverage(license, release), rule) {
            (Coverage::Covered | Coverage::Unknown, _) => Self::None,
            (Coverage::NotCovered { .. }, UpdateRule::Warn) => Self::Warning,
            (Coverage::NotCovered { .. }, UpdateRule::Enforce) => Self::FeaturesOff,
        }
    }

    /// A code for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Warning => "warning",
            Self::FeaturesOff => "features_off",
        }
    }
}
