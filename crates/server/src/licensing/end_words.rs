//! The end of a license in words, for people. Every page and command uses these, so that a license
//! that waits for its first activation never reads as one without an end.

use chrono::{DateTime, Utc};
use license_core::plan::{DurationFrom, LicenseEnd, Plan};

/// An end alone: `31 December 2030`, `30 days after the first activation` or `never`.
#[must_use]
pub fn end_words(end: LicenseEnd, time: impl Fn(DateTime<Utc>) -> String) -> String {
    match end {
        LicenseEnd::At(None) => "never".to_owned(),
        LicenseEnd::At(Some(at)) => time(at),
        LicenseEnd::AfterActivation(duration) => {
            format!("{} after the first activation", duration.in_words())
        }
    }
}

/// An end with its verb: `ends 31 December 2030`, `ends 30 days after the first activation` or
/// `never ends`.
#[must_use]
pub fn ends(end: LicenseEnd, time: impl Fn(DateTime<Utc>) -> String) -> String {
    match end {
        LicenseEnd::At(None) => "never ends".to_owned(),
        end => format!("ends {}", end_words(end, time)),
    }
}

/// How long a license of a plan lasts: `1 year`, `30 days from the first activation`; `None` if it
/// never ends.
#[must_use]
pub fn plan_duration(plan: &Plan) -> Option<String> {
    let duration = plan.duration?.in_words();
    Some(match plan.duration_from {
        DurationFrom::Issue => duration,
        DurationFrom::FirstActivation => format!("{duration} from the first activation"),
    })
}
