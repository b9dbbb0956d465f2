//! The terms of a license, and durations, in words.

use license_core::amendment::{Terms, UpdateRule};
use license_core::calendar_duration::CalendarDuration;

use crate::config::Terms as Settings;
use crate::licensing::day_words::{self, days, last_day};

/// One term.
pub(super) struct TermFact {
    /// The code of its label in `forms.html`.
    pub(super) code: &'static str,
    pub(super) text: String,
    /// The text with the other terms, if that is another one.
    pub(super) instead_of: Option<String>,
}

/// All terms, compared to others. What a license does not state is in the server's settings.
pub(super) fn term_facts(
    settings: &Settings,
    terms: &Terms,
    others: Option<&Terms>,
) -> Vec<TermFact> {
    let others = others.map(|others| texts(settings, others));
    let facts = texts(settings, terms).into_iter().enumerate();
    let facts = facts.map(|(place, (code, text))| {
        let other = others.as_ref().map(|others| &others[place].1);
        let instead_of = other.filter(|other| **other != text).cloned();
        TermFact {
            code,
            text,
            instead_of,
        }
    });
    facts.collect()
}

fn texts(settings: &Settings, terms: &Terms) -> [(&'static str, String); 6] {
    let hours = |hours: Option<u32>, default: i64| match hours {
        Some(hours) => day_words::hours(hours),
        None => format!(
            "{}, as set on the License Server",
            day_words::hours(default)
        ),
    };
    let offline = match terms.offline_days {
        Some(number) => days(number),
        None => format!(
            "{}, as set on the License Server",
            days(settings.offline_days.num_days())
        ),
    };
    let updates = match (terms.updates_until, terms.updates) {
        (None, _) => "all releases".to_owned(),
        (Some(until), UpdateRule::Warn) => {
            format!("until {}; later releases cause a warning", last_day(until))
        }
        (Some(until), UpdateRule::Enforce) => format!(
            "until {}; licensed features are off with later releases",
            last_day(until)
        ),
    };
    let moves = format!("{} in {}", terms.moves, days(terms.moves_period_days));
    [
        ("seats", terms.seats.to_string()),
        ("moves", moves),
        (
            "lease",
            hours(terms.lease_hours, settings.lease_hours.num_hours()),
        ),
        (
            "grace",
            hours(terms.grace_hours, settings.grace_hours.num_hours()),
        ),
        ("offline", offline),
        ("updates", updates),
    ]
}

/// A duration for people; empty without one.
pub(super) fn duration_words(duration: Option<CalendarDuration>) -> String {
    let words = duration.map(CalendarDuration::in_words);
    words.unwrap_or_default()
}
