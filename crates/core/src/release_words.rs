//! The messages about a release that a license covers or does not cover.

use chrono::{DateTime, Utc};

use crate::feature::FeatureKey;
use crate::release::{Consequence, Coverage, Release};

/// The warning of a site that runs `release`; `None` if there is nothing to warn about.
#[must_use]
pub fn installed(
    release: &Release,
    coverage: Coverage,
    consequence: Consequence,
) -> Option<String> {
    let Coverage::NotCovered { until } = coverage else {
        return None;
    };
    let follows = match consequence {
        Consequence::None => return None,
        Consequence::Warning => "All features stay on.",
        Consequence::FeaturesOff => "Licensed features are off; core features are on.",
    };
    let Release {
        version, released, ..
    } = release;
    Some(format!(
        "The license covers releases until {}, but release {version} of {} is installed. {follows} \
         Ask your vendor to extend the updates, or install a release that is covered.",
        day(until),
        day(*released),
    ))
}

/// What would follow from installing `release` at a site where `features` are the licensed features
/// in force.
#[must_use]
pub fn upgrade(
    release: &Release,
    coverage: Coverage,
    consequence: Consequence,
    features: &[FeatureKey],
) -> String {
    let Release {
        version, released, ..
    } = release;
    let until = match coverage {
        Coverage::Covered if release.exempt => {
            return format!("Every license covers release {version}: it is exempt.");
        }
        Coverage::Covered => return format!("The license covers release {version}."),
        Coverage::Unknown => {
            return format!(
                "Cannot determine whether release {version} is covered: no license is activated, \
                 or the license's updatesUntil cannot be read."
            );
        }
        Coverage::NotCovered { until } => day(until),
    };
    let follows = match (consequence, features) {
        (Consequence::FeaturesOff, []) => {
            "No licensed features are in effect, so none would be switched off.".to_owned()
        }
        (Consequence::FeaturesOff, features) => {
            let features: Vec<&str> = features.iter().map(FeatureKey::as_str).collect();
            let features = features.join(", ");
            format!("This release would switch off {features}; core features would stay on.")
        }
        _ => "All features would stay on, with a warning.".to_owned(),
    };
    format!(
        "The license covers releases until {until}, not release {version} of {}. {follows}",
        day(*released),
    )
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y, %H:%M UTC").to_string()
}
