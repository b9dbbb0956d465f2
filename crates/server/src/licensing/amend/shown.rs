//! Amendments and what they change, as programs see them.

use chrono::{DateTime, Utc};
use license_core::amendment::{Amendment, Change, Effect, Value, ValueChange};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};

use super::{Affected, Amended};
use crate::licensing::judge::ShownLicense;

/// An amendment and what it changes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Amended)]
pub struct ShownAmended {
    /// Whether it was stored; false for a preview.
    stored: bool,
    /// The amendment.
    amendment: ShownAmendment,
    /// The license with the amendment.
    license: ShownLicense,
    /// The differences from the license without the amendment, and when each begins.
    effects: Vec<ShownEffect>,
    /// What else changes when the amendment takes effect, including changes from undoing another
    /// amendment, in the form of `changes`: the plan, the customer, the start, the end and the
    /// terms.
    #[schema(value_type = Vec<Object>)]
    differences: Vec<Change>,
    /// How many machines hold a seat.
    seats_held: u64,
    /// How many seats the license has when the amendment applies. If more are held, those that were
    /// taken last are excess: what is signed for them stays valid, but is not extended.
    seats: u32,
    /// The machines that hold a seat, at most 1000.
    installations: Vec<ShownAffected>,
}

/// The differences that begin at an instant.
#[derive(Serialize, ToSchema)]
#[schema(as = AmendmentEffect)]
struct ShownEffect {
    /// The first instant.
    at: DateTime<Utc>,
    changes: Vec<ShownValueChange>,
}

/// One value that differs. It is `true` or `false` for a feature; for what is counted, a number or
/// `unlimited`.
#[derive(Serialize, ToSchema)]
#[schema(as = AmendmentValueChange)]
struct ShownValueChange {
    /// The feature, or what is counted.
    key: String,
    /// Without the amendment.
    #[schema(schema_with = value_schema)]
    before: serde_json::Value,
    /// With the amendment; the same as `before` if there is no longer a difference.
    #[schema(schema_with = value_schema)]
    after: serde_json::Value,
}

/// A machine that an amendment affects.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AffectedInstallation)]
struct ShownAffected {
    /// The machine.
    hardware_id: String,
    /// The installation on it.
    installation_id: String,
    /// Its display name.
    installation_name: String,
    /// The latest time of its next validation, if its lease has not ended.
    learns_by: Option<DateTime<Utc>>,
    /// What it uses more of than will be granted. This never stops anything that is running.
    over: Vec<ShownOver>,
    /// Whether its seat is excess when the amendment applies.
    excess: bool,
    /// If its seat is excess now: until when it may run. `null` if its lease has ended, or the
    /// amendment applies later.
    ends_at: Option<DateTime<Utc>>,
}

/// A granted amount that is below the usage that a machine last reported.
#[derive(Serialize, ToSchema)]
#[schema(as = OverGranted)]
struct ShownOver {
    /// What is counted.
    key: String,
    /// The usage that the machine last reported.
    used: u64,
    /// How much is granted.
    granted: u64,
    /// When this begins.
    at: DateTime<Utc>,
}

fn value_schema() -> OneOfBuilder {
    quantity_schema().item(ObjectBuilder::new().schema_type(Type::Boolean))
}

/// The schema of a quantity.
#[must_use]
pub fn quantity_schema() -> OneOfBuilder {
    let number = ObjectBuilder::new().schema_type(Type::Integer);
    let unlimited = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["unlimited"]));
    OneOfBuilder::new()
        .item(number.minimum(Some(0)).maximum(Some(u64::MAX)))
        .item(unlimited)
}

impl ShownAmended {
    /// What was done at `now`, or would be done.
    #[must_use]
    pub fn of(amended: Amended, stored: bool, now: DateTime<Utc>) -> Self {
        Self {
            stored,
            amendment: amended.amendment.into(),
            license: ShownLicense::of(amended.license, now),
            seats_held: amended.seats_held,
            seats: amended.seats,
            differences: amended.differences,
            effects: amended.effects.into_iter().map(ShownEffect::from).collect(),
            installations: amended
                .installations
                .into_iter()
                .map(ShownAffected::from)
                .collect(),
        }
    }
}

impl From<Effect> for ShownEffect {
    fn from(effect: Effect) -> Self {
        let value = |value: Value| match value {
            Value::Feature(is_in_force) => is_in_force.into(),
            Value::Count(quantity) => quantity.to_json(),
        };
        let change = |change: ValueChange| ShownValueChange {
            key: change.key.as_str().to_owned(),
            before: value(change.before),
            after: value(change.after),
        };
        Self {
            at: effect.at,
            changes: effect.changes.into_iter().map(change).collect(),
        }
    }
}

impl From<Affected> for ShownAffected {
    fn from(affected: Affected) -> Self {
        let over = affected.over.into_iter().map(|over| ShownOver {
            key: over.resource.as_str().to_owned(),
            used: over.used,
            granted: over.granted,
            at: over.at,
        });
        Self {
            over: over.collect(),
            excess: affected.is_excess,
            ends_at: affected.ends_at,
            learns_by: affected.learns_by,
            hardware_id: affected.seat.hardware_id,
            installation_id: affected.seat.installation_id,
            installation_name: affected.seat.installation_name,
        }
    }
}

/// A recorded change to a license.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Amendment)]
pub struct ShownAmendment {
    /// 1 for the amendment with which the license was issued, then without gaps.
    pub number: u32,
    /// Who made it.
    pub author: String,
    /// The reason.
    pub reason: Option<String>,
    /// The reference of the order.
    pub order: Option<String>,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// When it takes effect.
    pub effective_at: DateTime<Utc>,
    /// The number of the amendment that it undoes.
    pub undoes: Option<u32>,
    /// What it changes, in this order: each is an object with one member, `grant`, `end`, `plan`,
    /// `customer` (the id of the customer; empty for none), `start`, `expiry`, `lasts` (how long the
    /// license may be used from its first activation on), `terms` (all terms) or `termChanges`.
    #[schema(value_type = Vec<Object>)]
    changes: Vec<Change>,
}

impl From<Amendment> for ShownAmendment {
    fn from(amendment: Amendment) -> Self {
        Self {
            number: amendment.number,
            author: amendment.author,
            reason: amendment.reason,
            order: amendment.order,
            recorded_at: amendment.recorded_at,
            effective_at: amendment.effective_at,
            undoes: amendment.undoes,
            changes: amendment.changes,
        }
    }
}
