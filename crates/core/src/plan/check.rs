//! Whether a version of a plan may be published.

use std::collections::BTreeSet;

use super::{DurationFrom, Plan, PlanEntitlement, PlanTerms};
use crate::add_on::MAX_ADD_ON_GRANTS;
use crate::amendment::{Terms, check_terms};
use crate::catalogue::Catalogue;
use crate::feature::FeatureKey;

/// Maximum length of a plan's name, in characters.
pub const MAX_NAME_CHARS: usize = 64;
/// Maximum length of a plan's title, in characters.
pub const MAX_TITLE_CHARS: usize = 100;
/// Maximum length of a plan's description, in characters.
pub const MAX_DESCRIPTION_CHARS: usize = 1000;
/// Maximum number of entitlements of a plan. An amendment that contains them has room for others.
pub const MAX_PLAN_ENTITLEMENTS: usize = 500;

/// Why a plan is not accepted: the field, as in JSON, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {field}: {why}")]
pub struct InvalidPlan {
    /// The field.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

fn invalid(field: impl Into<String>, why: impl Into<String>) -> InvalidPlan {
    InvalidPlan {
        field: field.into(),
        why: why.into(),
    }
}

/// Checks the form of a plan's name.
///
/// # Errors
/// [`InvalidPlan`] for anything but 1 to [`MAX_NAME_CHARS`] of `a` to `z`, `0` to `9`, `_` and `-`.
pub fn check_name(name: &str) -> Result<(), InvalidPlan> {
    let is_plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"_-".contains(&it);
    match (1..=MAX_NAME_CHARS).contains(&name.len()) && name.bytes().all(is_plain) {
        true => Ok(()),
        false => Err(invalid(
            "name",
            format!("expected 1 to {MAX_NAME_CHARS} characters from a to z, 0 to 9, '_' and '-'"),
        )),
    }
}

impl Plan {
    /// Checks whether it may be published, with what can be sold.
    ///
    /// # Errors
    /// The first field that is not accepted.
    pub fn check(&self, catalogue: &Catalogue) -> Result<(), InvalidPlan> {
        if self.title.is_empty() {
            return Err(invalid("title", "missing"));
        }
        for (field, text, max) in [
            ("title", &self.title, MAX_TITLE_CHARS),
            ("description", &self.description, MAX_DESCRIPTION_CHARS),
        ] {
            if text.chars().count() > max || text.contains('\0') {
                return Err(invalid(field, format!("limited to {max} characters")));
            }
        }
        if self.duration.is_none() && self.duration_from != DurationFrom::Issue {
            return Err(invalid("durationFrom", "the plan has no duration"));
        }
        let terms = Terms {
            seats: self.terms.seats,
            moves: self.terms.moves,
            moves_period_days: self.terms.moves_period_days,
            lease_hours: self.terms.lease_hours,
            grace_hours: self.terms.grace_hours,
            offline_days: self.terms.offline_days,
            ..Terms::default()
        };
        check_terms(&terms).map_err(|error| invalid("terms", error.to_string()))?;
        if self.entitlements.len() > MAX_PLAN_ENTITLEMENTS {
            let why = format!("a plan can have at most {MAX_PLAN_ENTITLEMENTS} entitlements");
            return Err(invalid("entitlements", why));
        }
        if self.add_on {
            self.check_add_on()?;
        }
        let mut keys = BTreeSet::new();
        for (place, it) in self.entitlements.iter().enumerate() {
            check_entitlement(it, place, catalogue)?;
            if !keys.insert(&it.key) {
                let why = format!("'{}' is listed twice", it.key);
                return Err(invalid(format!("entitlements[{place}].key"), why));
            }
        }
        Ok(())
    }
}

impl Plan {
    /// An add-on consists of entitlements alone, and a key does not grant more than fit.
    fn check_add_on(&self) -> Result<(), InvalidPlan> {
        let only =
            |field: &str, what: &str| Err(invalid(field, format!("an add-on cannot have {what}")));
        if self.trial {
            return only("trial", "a trial");
        }
        if self.duration.is_some() {
            return only("duration", "a duration; its entitlements can");
        }
        if self.terms != PlanTerms::default() {
            return only("terms", "terms");
        }
        match (1..=MAX_ADD_ON_GRANTS).contains(&self.entitlements.len()) {
            true => Ok(()),
            false => {
                let why = format!("an add-on must have 1 to {MAX_ADD_ON_GRANTS} entitlements");
                Err(invalid("entitlements", why))
            }
        }
    }
}

fn check_entitlement(
    it: &PlanEntitlement,
    place: usize,
    catalogue: &Catalogue,
) -> Result<(), InvalidPlan> {
    let field = |name: &str| format!("entitlements[{place}].{name}");
    if let Err(error) = FeatureKey::parse(&it.key) {
        let why = format!("'{}' is not a feature key: {error}", it.key);
        return Err(invalid(field("key"), why));
    }
    catalogue
        .check(&it.key, it.quantity)
        .map_err(|error| invalid(field(error.field()), error.to_string()))
}
