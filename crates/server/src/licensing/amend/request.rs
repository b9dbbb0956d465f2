//! What the vendor's staff want to change, as an amendment.

use chrono::{DateTime, Utc};
use license_core::amendment::{self, Amendment, Contents, contents};
use license_core::entitlement::{Entitlement, Period, Quantity};
use license_core::feature::{FeatureKey, is_core, is_sold};
use license_core::usage::Resource;

use super::AmendError;
use crate::audit::Change;
use crate::licensing::issue::{MAX_CUSTOMER_CHARS, check_expiry};
use crate::store::licenses::judged_at;

/// Maximum length of the reason of an amendment, in characters.
pub const MAX_REASON_CHARS: usize = 1000;
/// Maximum length of the reference of an order, in characters: the width of its column.
pub const MAX_ORDER_CHARS: usize = 255;

/// What to change. Fields that are `None` or empty stay as they are.
#[derive(Clone, Debug, Default)]
pub struct AmendRequest {
    /// The number of the newest amendment that its author knows.
    pub after: Option<u32>,
    /// Why, for people.
    pub reason: Option<String>,
    /// The reference of the order.
    pub order: Option<String>,
    /// From when on it applies; by default, immediately.
    pub effective_at: Option<DateTime<Utc>>,
    /// The number of an amendment to undo.
    pub undoes: Option<u32>,
    /// What to end.
    pub end: Vec<String>,
    /// What to grant in addition, after that.
    pub add: Vec<Addition>,
    /// The first instant at which anything is in force; `Some(None)` removes this bound.
    pub starts_at: Option<Option<DateTime<Utc>>>,
    /// The last instant at which the license may be used; `Some(None)` means never.
    pub expires_at: Option<Option<DateTime<Utc>>>,
    /// The customer.
    pub customer: Option<String>,
    /// Maximum number of machines at the same time.
    pub seats: Option<u32>,
    /// How many times in a period a seat may move …
    pub moves: Option<u32>,
    /// … and the length of that period in days.
    pub moves_period_days: Option<u32>,
}

/// Something to grant in addition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// The feature, or what is counted.
    pub key: String,
    /// How much; `None` for a feature.
    pub quantity: Option<Quantity>,
    /// When it is in force.
    pub period: Period,
}

impl AmendRequest {
    /// The amendment that follows those that are known, without what stays as it is.
    ///
    /// # Errors
    /// For each field with an invalid value.
    pub(in crate::licensing) fn amendment(
        &self,
        known: &[Amendment],
        change: &Change,
    ) -> Result<Amendment, AmendError> {
        check_text("reason", self.reason.as_deref(), MAX_REASON_CHARS)?;
        check_text("order", self.order.as_deref(), MAX_ORDER_CHARS)?;
        let recorded_at = DateTime::from_timestamp(judged_at(known, change.at).timestamp(), 0);
        let recorded_at = recorded_at.unwrap_or(change.at);
        let mut amendment = Amendment {
            number: known.last().map_or(0, |it| it.number) + 1,
            author: change.by.to_string(),
            reason: self.reason.clone(),
            order: self.order.clone(),
            recorded_at,
            effective_at: self.effective_at.unwrap_or(recorded_at),
            undoes: self.undoes,
            changes: Vec::new(),
        };
        let undone = [known, std::slice::from_ref(&amendment)].concat();
        let before = contents(&undone, amendment.effective_at);
        amendment.changes = self.changes(&before, change.at, amendment.effective_at)?;
        Ok(amendment)
    }

    /// What is different from a license with these contents at `effective_at`.
    fn changes(
        &self,
        before: &Contents,
        now: DateTime<Utc>,
        effective_at: DateTime<Utc>,
    ) -> Result<Vec<amendment::Change>, AmendError> {
        use amendment::Change;

        let mut changes = Vec::new();
        for key in &self.end {
            let key = feature_key("end", key)?;
            changes.push(Change::End { key });
        }
        for (place, addition) in self.add.iter().enumerate() {
            let entitlement = addition.entitlement(&format!("add[{place}]"), before)?;
            if let Some(until) = entitlement.period.until.filter(|it| *it < effective_at) {
                return Err(AmendError::Field {
                    field: format!("add[{place}].until"),
                    why: format!("the end {until} is before the amendment takes effect"),
                });
            }
            changes.push(Change::Grant(entitlement));
        }
        if let Some(customer) = self.customer.as_ref().filter(|it| **it != before.customer) {
            if customer.chars().count() > MAX_CUSTOMER_CHARS || customer.contains('\0') {
                return Err(AmendError::Customer);
            }
            changes.push(Change::Customer(customer.clone()));
        }
        if let Some(start) = self.starts_at.filter(|it| *it != before.starts_at) {
            changes.push(Change::Start(start));
        }
        if let Some(end) = self.expires_at.filter(|it| *it != before.expires_at) {
            check_expiry(end, now)?;
            changes.push(Change::Expiry(end));
        }
        let mut terms = before.terms.clone();
        terms.seats = self.seats.unwrap_or(terms.seats);
        terms.moves = self.moves.unwrap_or(terms.moves);
        terms.moves_period_days = self.moves_period_days.unwrap_or(terms.moves_period_days);
        if terms != before.terms {
            changes.push(Change::Terms(terms));
        }
        Ok(changes)
    }
}

impl Addition {
    /// The entitlement, if it has the form of what it grants.
    fn entitlement(&self, name: &str, before: &Contents) -> Result<Entitlement, AmendError> {
        let invalid = |field: &str, why: String| AmendError::Field {
            field: format!("{name}.{field}"),
            why,
        };
        let Self {
            key,
            quantity,
            period,
        } = self;
        let parsed = feature_key(&format!("{name}.key"), key)?;
        match (is_counted(key, before), quantity) {
            (Some(true), None) => {
                let why = format!("missing, because {key} are counted");
                return Err(invalid("quantity", why));
            }
            (Some(false), Some(_)) => {
                let why = format!("not expected, because {key} is a feature");
                return Err(invalid("quantity", why));
            }
            _ => {}
        }
        if let (Some(from), Some(until)) = (period.from, period.until)
            && until < from
        {
            let why = format!("the end {until} is before the start {from}");
            return Err(invalid("until", why));
        }
        Ok(Entitlement {
            key: parsed,
            quantity: *quantity,
            period: *period,
        })
    }
}

/// Whether something is counted rather than a feature; `None` if that is not known yet.
fn is_counted(key: &str, before: &Contents) -> Option<bool> {
    if Resource::of(key).is_some() {
        return Some(true);
    }
    if is_core(key) || is_sold(key) {
        return Some(false);
    }
    let mut granted = before.granted.values();
    let known = granted.find(|it| it.key.as_str() == key)?;
    Some(known.quantity.is_some())
}

fn feature_key(field: &str, key: &str) -> Result<FeatureKey, AmendError> {
    FeatureKey::parse(key).map_err(|error| AmendError::Field {
        field: field.to_owned(),
        why: format!("'{key}' is not a feature key: {error}"),
    })
}

fn check_text(field: &str, text: Option<&str>, max: usize) -> Result<(), AmendError> {
    let text = text.unwrap_or_default();
    if text.chars().count() > max || text.contains('\0') {
        return Err(AmendError::Field {
            field: field.to_owned(),
            why: format!("limited to {max} characters"),
        });
    }
    Ok(())
}
