//! What the operator has to know although the license is valid: that it does not cover the installed
//! release, what is over its limit, and what ends soon.

use license_console::moment::Moment;
use license_core::limits::usage_words;
use license_core::plausible_time::PlausibleTime;
use license_core::upcoming::Upcoming;
use license_core::usage::Usage;

use crate::knowledge::snapshot::Snapshot;
use crate::licensing::release;

/// Maximum number of warnings on the page.
const MAX_SHOWN_WARNINGS: usize = 20;

/// The warnings at `now`, the time of `upcoming`.
pub(super) fn warnings(
    usage: &Usage,
    snapshot: &Snapshot,
    upcoming: &[Upcoming],
    now: PlausibleTime,
) -> Vec<String> {
    let over = snapshot.over_limit(usage, now).into_iter();
    let over = over.filter_map(|key| {
        let (used, limit) = (usage.of(key)?, snapshot.limit(key, now).number()?);
        Some(usage_words(key, used, limit))
    });
    let release = release::warning(snapshot);
    let ends = upcoming
        .iter()
        .filter(|it| it.urgency(now.latest()).is_some());
    release
        .into_iter()
        .chain(over)
        .chain(ends.map(dated))
        .take(MAX_SHOWN_WARNINGS)
        .collect()
}

/// A change with its time.
pub(super) fn dated(upcoming: &Upcoming) -> String {
    let Upcoming { at, change } = upcoming;
    format!("{change} on {}", Moment::of(*at).text)
}
