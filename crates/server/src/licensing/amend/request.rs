//! What the vendor's staff want to change, as an amendment.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use license_core::amendment::{self, Amendment, Contents, TermChanges, contents, judged_at};
use license_core::catalogue::Catalogue;
use license_core::entitlement::{Entitlement, Period, Quantity};
use license_core::feature::FeatureKey;
use license_core::plan::{LicenseEnd, PlanChoice, replaced};
use sea_orm::ConnectionTrait;

use crate::audit::Change;
use crate::licensing::amend_error::AmendError;
use crate::licensing::expiry::check_expiry;
use crate::licensing::plans::find_plan;
use crate::licensing::text_bounds::fits;
use crate::store::plans::{self, PublishedPlan};
use crate::store::{StoreError, catalogue};

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
    /// When it takes effect; by default, immediately.
    pub effective_at: Option<DateTime<Utc>>,
    /// The number of an amendment to undo.
    pub undoes: Option<u32>,
    /// The plan to replace the present one with.
    pub plan: Option<PlanChoice>,
    /// What to end, before the plan is replaced.
    pub end: Vec<String>,
    /// What to grant in addition, after that.
    pub add: Vec<Addition>,
    /// The first instant at which anything is in force; `Some(None)` removes this bound.
    pub starts_at: Option<Option<DateTime<Utc>>>,
    /// The last instant at which the license may be used; `Some(None)` means never.
    pub expires_at: Option<Option<DateTime<Utc>>>,
    /// The customer: its id, name or reference, or the name of a new one; empty for none.
    pub customer: Option<String>,
    /// The terms.
    pub terms: TermChanges,
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

/// What the vendor sells, as far as a request needs it.
#[derive(Debug, Default)]
struct Offer {
    catalogue: Catalogue,
    /// The plan that the request names.
    plan: Option<PublishedPlan>,
    /// The license's plan.
    former: Option<PublishedPlan>,
}

impl AmendRequest {
    /// The amendment that follows those that are known, without what stays unchanged. `customer` is
    /// the id of the requested customer; empty for none.
    ///
    /// # Errors
    /// For each field with an invalid value, or if the database returns an error.
    pub(in crate::licensing) async fn amendment(
        &self,
        db: &impl ConnectionTrait,
        known: &[Amendment],
        customer: Option<String>,
        change: &Change,
    ) -> Result<Amendment, AmendError> {
        let mut amendment = self.without_changes(known, change)?;
        let undone = [known, std::slice::from_ref(&amendment)].concat();
        let before = contents(&undone, amendment.effective_at);
        let offer = self.offer(db, &before).await?;
        amendment.changes = self.changes(&before, &offer, change.at, amendment.effective_at)?;
        if let Some(customer) = customer.filter(|it| *it != before.customer) {
            let change = amendment::Change::Customer(customer);
            amendment.changes.push(change);
        }
        Ok(amendment)
    }

    /// The same, before it is known what it changes.
    ///
    /// # Errors
    /// For an invalid reason or order.
    pub(in crate::licensing) fn without_changes(
        &self,
        known: &[Amendment],
        change: &Change,
    ) -> Result<Amendment, AmendError> {
        check_text("reason", self.reason.as_deref(), MAX_REASON_CHARS)?;
        check_text("order", self.order.as_deref(), MAX_ORDER_CHARS)?;
        let recorded_at = DateTime::from_timestamp(judged_at(known, change.at).timestamp(), 0);
        let recorded_at = recorded_at.unwrap_or(change.at);
        Ok(Amendment {
            number: known.last().map_or(0, |it| it.number) + 1,
            author: change.by.to_string(),
            reason: self.reason.clone(),
            order: self.order.clone(),
            recorded_at,
            effective_at: self.effective_at.unwrap_or(recorded_at),
            undoes: self.undoes,
            changes: Vec::new(),
        })
    }

    async fn offer(
        &self,
        db: &impl ConnectionTrait,
        before: &Contents,
    ) -> Result<Offer, AmendError> {
        let mut offer = Offer::default();
        if !self.add.is_empty() {
            offer.catalogue = catalogue::kinds(db).await?;
        }
        if let Some(choice) = &self.plan {
            let plan = find_plan(db, choice).await?;
            if plan.contents.add_on {
                return Err(AmendError::Field {
                    field: "plan".to_owned(),
                    why: format!(
                        "'{}' is a plan for add-on keys; redeem an add-on key instead",
                        plan.version
                    ),
                });
            }
            offer.plan = Some(plan);
            offer.former = former_plan(db, before).await?;
        }
        Ok(offer)
    }

    /// What is different from a license with these contents at `effective_at`.
    fn changes(
        &self,
        before: &Contents,
        offer: &Offer,
        now: DateTime<Utc>,
        effective_at: DateTime<Utc>,
    ) -> Result<Vec<amendment::Change>, AmendError> {
        use amendment::Change;

        let mut changes = Vec::new();
        for key in &self.end {
            let key = feature_key("end", key)?;
            changes.push(Change::End { key });
        }
        let (mut terms, mut end) = (before.terms.clone(), LicenseEnd::of(before));
        let plan = offer.plan.as_ref();
        if let Some(plan) = plan.filter(|it| Some(&it.version) != before.plan.as_ref()) {
            // The time of the plan starts with the license.
            let starts_at = self.starts_at.unwrap_or(before.starts_at);
            let start = starts_at.map_or(effective_at, |at| at.max(effective_at));
            let granted = plan.contents.granted(start)?.into_iter();
            changes.extend(granted.map(Change::Grant));
            changes.push(Change::Plan(plan.version.clone()));
            let former = offer.former.as_ref().map(|it| &it.contents);
            (terms, end) = replaced(before, former, &plan.contents, start)?;
        }
        for (place, addition) in self.add.iter().enumerate() {
            let name = format!("add[{place}]");
            let granted = addition.entitlement(&name, &offer.catalogue, effective_at)?;
            changes.push(Change::Grant(granted));
        }
        if let Some(start) = self.starts_at.filter(|it| *it != before.starts_at) {
            changes.push(Change::Start(start));
        }
        let end = self.expires_at.map_or(end, LicenseEnd::At);
        if end != LicenseEnd::of(before) {
            check_expiry(end.at(), now)?;
            changes.push(end.change());
        }
        // Only what is different: other amendments may change other terms in the meantime.
        let terms = TermChanges::between(&before.terms, &terms.with(&self.terms));
        if !terms.is_empty() {
            changes.push(Change::TermChanges(terms));
        }
        Ok(changes)
    }
}

/// The contents of a license's plan; `None` if they are not known.
async fn former_plan(
    db: &impl ConnectionTrait,
    before: &Contents,
) -> Result<Option<PublishedPlan>, StoreError> {
    match &before.plan {
        Some(plan) => plans::find(db, &plan.name, Some(plan.version)).await,
        None => Ok(None),
    }
}

/// Read from `module.map_view`, `cameras=32` or `cameras=unlimited`.
impl FromStr for Addition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, quantity) = match text.split_once('=') {
            None => (text, None),
            Some((key, "unlimited")) => (key, Some(Quantity::Unlimited)),
            Some((key, number)) => {
                let number = number.parse().map_err(|_| {
                    format!("invalid number '{number}'; expected 0 or more, or 'unlimited'")
                })?;
                (key, Some(Quantity::Of(number)))
            }
        };
        Ok(Self {
            key: key.to_owned(),
            quantity,
            period: Period::ALWAYS,
        })
    }
}

impl Addition {
    /// The entitlement, for an amendment that takes effect at `effective_at`.
    fn entitlement(
        &self,
        name: &str,
        catalogue: &Catalogue,
        effective_at: DateTime<Utc>,
    ) -> Result<Entitlement, AmendError> {
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
        if let (Some(from), Some(until)) = (period.from, period.until)
            && until < from
        {
            let why = format!("the end {until} is before the start {from}");
            return Err(invalid("until", why));
        }
        if let Some(until) = period.until.filter(|it| *it < effective_at) {
            let why = format!("the end {until} is before the amendment takes effect");
            return Err(invalid("until", why));
        }
        catalogue
            .check(key, *quantity)
            .map_err(|error| invalid(error.field(), error.to_string()))?;
        Ok(Entitlement {
            key: parsed,
            quantity: *quantity,
            period: *period,
        })
    }
}

fn feature_key(field: &str, key: &str) -> Result<FeatureKey, AmendError> {
    FeatureKey::parse(key).map_err(|error| AmendError::Field {
        field: field.to_owned(),
        why: format!("'{key}' is not a feature key: {error}"),
    })
}

fn check_text(field: &str, text: Option<&str>, max: usize) -> Result<(), AmendError> {
    let text = text.unwrap_or_default();
    if !fits(text, max) {
        return Err(AmendError::Field {
            field: field.to_owned(),
            why: format!("limited to {max} characters"),
        });
    }
    Ok(())
}
