//! The license that would be issued, with its differences from the plan.

use askama::Template;
use chrono::{DateTime, Utc};
use license_core::amendment::{Change, Contents, contents};
use license_core::entitlement::Entitlement;
use license_core::plan::LicenseEnd;

use super::form::preset;
use crate::app::App;
use crate::console::fields::Fields;
use crate::console::frame::Frame;
use crate::console::known_customers::{Meant, meant};
use crate::console::term_words::{TermFact, term_facts};
use crate::http::error::ApiError;
use crate::licensing::day_words::{first_day, last_day};
use crate::licensing::end_words::{end_words, plan_duration};
use crate::licensing::issue::{Draft, IssueError};
use crate::licensing::item_words::{ItemNames, quantity_words};
use crate::store::plans::PublishedPlan;

#[derive(Template)]
#[template(path = "issue_review.html")]
pub(super) struct Review {
    frame: Frame,
    /// All fields of the form, which are sent again.
    fields: Fields,
    customer: Meant,
    plan: PublishedPlan,
    starts: String,
    ends: String,
    /// How long the license lasts according to its plan, unless the form sets its end.
    planned_duration: Option<String>,
    features: Vec<Granted>,
    counts: Vec<Granted>,
    /// Names of what the plan grants and the license does not.
    left_out: Vec<String>,
    terms: Vec<TermFact>,
    key: String,
}

/// One thing that the license grants.
struct Granted {
    name: String,
    /// Empty for a feature.
    quantity: String,
    /// Its own end; empty if it has none.
    until: String,
    /// What the plan grants instead, `none` if the plan does not have it, and empty if it is the
    /// plan's.
    planned: String,
}

/// The review of a draft, which was made from the fields.
pub(super) async fn review(
    app: &App,
    mut fields: Fields,
    plan: &PublishedPlan,
    draft: &Draft,
) -> Result<Review, ApiError> {
    let db = app.store.reader();
    let items = ItemNames::read(db).await?;
    let contents = contents(std::slice::from_ref(&draft.first), draft.first.effective_at);
    let (license, end) = (&draft.license, LicenseEnd::of(&contents));
    let typed_key = fields.raw("key").to_owned();
    fields.set("typed_key", typed_key);
    fields.set("key", license.license_key.as_str());
    if let (Some(_), Some(end)) = (preset(fields.text("end")), contents.expires_at) {
        let end = end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        fields.set("reviewed_end", end);
    }
    let granted = draft
        .first
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Grant(entitlement) => Some(entitlement),
            _ => None,
        });
    let granted: Vec<&Entitlement> = granted.collect();
    let is_granted = |key: &str| granted.iter().any(|it| it.key.as_str() == key);
    let planned = plan.contents.entitlements.iter();
    let left_out = planned.filter(|it| !is_granted(&it.key));
    let (features, counts) = granted
        .iter()
        .map(|it| (it.quantity.is_none(), of(it, plan, &items)))
        .partition::<Vec<_>, _>(|(is_feature, _)| *is_feature);
    let only = |rows: Vec<(bool, Granted)>| rows.into_iter().map(|(_, it)| it).collect();
    Ok(Review {
        frame: Frame::new("licenses"),
        customer: meant(db, fields.text("customer")).await?,
        starts: contents.starts_at.map(first_day).unwrap_or_default(),
        ends: end_words(end, last_day),
        planned_duration: end.at().and_then(|_| plan_duration(&plan.contents)),
        features: only(features),
        counts: only(counts),
        left_out: left_out.map(|it| items.name(&it.key)).collect(),
        terms: terms(app, plan, &contents, draft.first.effective_at)?,
        key: license.license_key.clone(),
        plan: plan.clone(),
        fields,
    })
}

fn of(entitlement: &Entitlement, plan: &PublishedPlan, items: &ItemNames) -> Granted {
    let key = entitlement.key.as_str();
    let mut planned = plan.contents.entitlements.iter();
    let planned = planned.find(|it| it.key == key);
    Granted {
        name: items.name(key),
        quantity: entitlement.quantity.map(quantity_words).unwrap_or_default(),
        until: entitlement.period.until.map(last_day).unwrap_or_default(),
        planned: match planned {
            None => "none".to_owned(),
            Some(planned) if planned.quantity == entitlement.quantity => String::new(),
            Some(planned) => planned.quantity.map(quantity_words).unwrap_or_default(),
        },
    }
}

/// The terms, with those of the plan where they are others.
fn terms(
    app: &App,
    plan: &PublishedPlan,
    contents: &Contents,
    issued_at: DateTime<Utc>,
) -> Result<Vec<TermFact>, ApiError> {
    let start = contents.starts_at.unwrap_or(issued_at);
    let planned = plan.contents.terms(start).map_err(IssueError::from)?;
    Ok(term_facts(&app.terms, &contents.terms, Some(&planned)))
}
