//! What an amendment changes, and at which installations.

use chrono::{DateTime, Utc};
use license_console::id::short;
use license_console::moment::Moment;
use license_core::amendment::Effect;

use super::license::value_words;
use crate::licensing::amend::{Affected, Amended, MAX_INSTALLATIONS};
use crate::licensing::day_words::first_day;
use crate::licensing::item_words::ItemNames;

/// Maximum number of installations on the page.
const LISTED: usize = 50;

/// What `impact.html` shows.
pub(super) struct Impact {
    pub(super) effects: Vec<ShownEffect>,
    pub(super) seats: u32,
    pub(super) seats_held: u64,
    pub(super) over_seats: u64,
    pub(super) installations: Vec<AffectedRow>,
    /// How many of the installations would use more than is granted.
    pub(super) over_limit: usize,
    /// How many installations are not listed.
    pub(super) others: u64,
}

/// What is different from an instant on.
pub(super) struct ShownEffect {
    /// Empty for immediately.
    pub(super) when: String,
    pub(super) statements: Vec<String>,
}

pub(super) struct AffectedRow {
    pub(super) name: String,
    pub(super) hardware_id: String,
    pub(super) hardware_id_short: String,
    pub(super) learns_by: Option<Moment>,
    /// What it would use too much of.
    pub(super) over: Vec<String>,
    pub(super) is_excess: bool,
    pub(super) runs_until: Option<Moment>,
}

impl Impact {
    /// What is different after an amendment.
    pub(super) fn of(amended: Amended, items: &ItemNames, now: DateTime<Utc>) -> Self {
        let mut installations = amended.installations;
        // Those with a problem first.
        installations.sort_by_key(|it| it.over.is_empty() && !it.is_excess);
        let over_limit = installations.iter().filter(|it| !it.over.is_empty());
        let over_limit = over_limit.count();
        let listed = u64::try_from(installations.len().min(LISTED)).unwrap_or(MAX_INSTALLATIONS);
        let effects = amended.effects.into_iter();
        let rows = installations.into_iter().take(LISTED);
        Self {
            effects: effects.map(|it| effect(&it, items, now)).collect(),
            seats: amended.seats,
            seats_held: amended.seats_held,
            over_seats: amended.seats_held.saturating_sub(amended.seats.into()),
            installations: rows.map(|it| row(it, items)).collect(),
            over_limit,
            others: amended.seats_held.saturating_sub(listed),
        }
    }
}

/// The day; empty if it has come.
pub(super) fn later(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match now < at {
        true => first_day(at),
        false => String::new(),
    }
}

fn effect(effect: &Effect, items: &ItemNames, now: DateTime<Utc>) -> ShownEffect {
    let statements = effect.changes.iter().map(|change| {
        let key = change.key.as_str();
        let value = value_words(items, key, Some(change.before), change.after);
        match change.before == change.after {
            true => format!("{value}, unchanged by the amendment"),
            false => value,
        }
    });
    ShownEffect {
        when: later(effect.at, now),
        statements: statements.collect(),
    }
}

fn row(affected: Affected, items: &ItemNames) -> AffectedRow {
    let over = affected.over.iter().map(|over| {
        let name = items.name(over.resource.as_str());
        let (used, granted) = (over.used, over.granted);
        let more = used.saturating_sub(granted);
        let from = first_day(over.at);
        format!("{name}: {used} of {granted} ({more} over) from {from}")
    });
    AffectedRow {
        over: over.collect(),
        name: affected.seat.installation_name,
        hardware_id_short: short(&affected.seat.hardware_id),
        hardware_id: affected.seat.hardware_id,
        learns_by: affected.learns_by.map(Moment::of),
        is_excess: affected.is_excess,
        runs_until: affected.ends_at.map(Moment::of),
    }
}
