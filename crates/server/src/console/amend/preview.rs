//! What an amendment would change, when, and at which installations.

use askama::Template;
use chrono::{DateTime, Utc};
use license_console::id::short;
use license_console::moment::Moment;
use license_core::amendment::Effect;

use crate::app::App;
use crate::console::fields::Fields;
use crate::console::frame::Frame;
use crate::console::known_customers::{Meant, meant};
use crate::console::license::value_words;
use crate::http::error::ApiError;
use crate::licensing::amend::{Affected, AmendRequest, Amended, MAX_INSTALLATIONS};
use crate::licensing::amendment_words::Told;
use crate::licensing::current::with_history;
use crate::licensing::day_words::first_day;
use crate::licensing::item_words::ItemNames;
use crate::store::licenses::License;

/// Maximum number of installations on the page.
const LISTED: usize = 50;

#[derive(Template)]
#[template(path = "amend_preview.html")]
pub(super) struct Preview {
    frame: Frame,
    license: License,
    /// All fields of the form, which are sent again.
    fields: Fields,
    number: u32,
    /// Whether it undoes another amendment.
    is_undo: bool,
    statements: Vec<String>,
    /// From when on it applies; empty for immediately.
    effective: String,
    reason: Option<String>,
    order: Option<String>,
    /// The customer that the license would get.
    customer: Option<Meant>,
    effects: Vec<ShownEffect>,
    seats: u32,
    seats_held: u64,
    over_seats: u64,
    installations: Vec<Row>,
    /// How many of the installations would use more than is granted.
    over_limit: usize,
    /// How many installations are not listed.
    others: u64,
}

/// What is different from an instant on.
struct ShownEffect {
    /// Empty for immediately.
    when: String,
    statements: Vec<String>,
}

struct Row {
    name: String,
    hardware_id: String,
    hardware_id_short: String,
    learns_by: Option<Moment>,
    /// What it would use too much of.
    over: Vec<String>,
    is_excess: bool,
    runs_until: Option<Moment>,
}

/// The preview of an amendment that the fields ask for.
pub(super) async fn preview(
    app: &App,
    amended: Amended,
    request: &AmendRequest,
    fields: Fields,
    now: DateTime<Utc>,
) -> Result<Preview, ApiError> {
    let db = app.store.reader();
    let items = ItemNames::read(db).await?;
    let (license, known) = with_history(db, amended.license.clone(), now).await?;
    let told = Told {
        amendments: &known,
        customers: &amended.customers,
        items: &items,
    };
    let statements = told.statements(&amended.amendment);
    let customer = match &request.customer {
        Some(text) => Some(meant(db, text).await?),
        None => None,
    };
    let mut installations = amended.installations;
    // Those with a problem first.
    installations.sort_by_key(|it| it.over.is_empty() && !it.is_excess);
    let over_limit = installations.iter().filter(|it| !it.over.is_empty());
    let over_limit = over_limit.count();
    let listed = u64::try_from(installations.len().min(LISTED)).unwrap_or(MAX_INSTALLATIONS);
    let effective_at = amended.amendment.effective_at;
    let effects = amended.effects.into_iter();
    let rows = installations.into_iter().take(LISTED);
    Ok(Preview {
        frame: Frame::new("licenses"),
        number: amended.amendment.number,
        is_undo: amended.amendment.undoes.is_some(),
        statements,
        effective: later(effective_at, now),
        reason: amended.amendment.reason,
        order: amended.amendment.order,
        customer,
        effects: effects.map(|it| effect(&it, &items, now)).collect(),
        seats: amended.seats,
        seats_held: amended.seats_held,
        over_seats: amended.seats_held.saturating_sub(amended.seats.into()),
        installations: rows.map(|it| row(it, &items)).collect(),
        over_limit,
        others: amended.seats_held.saturating_sub(listed),
        license,
        fields,
    })
}

fn later(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
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
            true => format!("{value}, as without the amendment"),
            false => value,
        }
    });
    ShownEffect {
        when: later(effect.at, now),
        statements: statements.collect(),
    }
}

fn row(affected: Affected, items: &ItemNames) -> Row {
    let over = affected.over.iter().map(|over| {
        let name = items.name(over.resource.as_str());
        let (used, granted) = (over.used, over.granted);
        let more = used.saturating_sub(granted);
        let from = first_day(over.at);
        format!("{name}: {used} of {granted} ({more} over) from {from}")
    });
    Row {
        over: over.collect(),
        name: affected.seat.installation_name,
        hardware_id_short: short(&affected.seat.hardware_id),
        hardware_id: affected.seat.hardware_id,
        learns_by: affected.learns_by.map(Moment::of),
        is_excess: affected.is_excess,
        runs_until: affected.ends_at.map(Moment::of),
    }
}
