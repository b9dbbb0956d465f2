//! Issues a license: the choice of a plan, the form, the review, and the result.

mod form;
mod review;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::{Extension, Form};
use chrono::SubsecRound as _;
use license_console::page::show;
use license_core::calendar_duration::CalendarDuration;
use license_core::catalogue::{CatalogueEntry, Kind};
use license_core::plan::Plan;
use serde::Deserialize;

use super::fields::{self, Fields};
use super::filters::unreadable;
use super::frame::{Done, Frame, trouble};
use super::known_customers::offered;
use super::license::address;
use super::term_words::duration_words;
use crate::app::App;
use crate::audit::Actor;
use crate::http::error::ApiError;
use crate::licensing::end_words::plan_duration;
use crate::licensing::issue::{IssueError, issue as issue_license, preview};
use crate::licensing::item_words::{ItemNames, quantity_words};
use crate::licensing::look_up::look_up;
use crate::licensing::plans::find_plan;
use crate::store::customers::NamedCustomer;
use crate::store::plans::{self, PublishedPlan};
use form::{QUANTITY, before_review, carried, filled, request};

/// The page on which a plan is chosen.
#[derive(Template)]
#[template(path = "issue_plan.html")]
struct ChoicePage {
    frame: Frame,
    plans: Vec<PublishedPlan>,
    /// The plan that is chosen already.
    chosen: String,
    /// The fields of the form that is filled in again.
    kept: Fields,
    error: Option<String>,
}

/// The form.
#[derive(Template)]
#[template(path = "issue.html")]
struct IssuePage {
    frame: Frame,
    fields: Fields,
    plan: PublishedPlan,
    /// How long a license lasts by the plan; empty if it never ends.
    duration: String,
    features: Vec<FeatureBox>,
    counts: Vec<CountField>,
    customers: Vec<NamedCustomer>,
    defaults: Defaults,
    /// Whether the plan was just changed.
    is_carried: bool,
    error: Option<String>,
}

/// A check box for a feature.
struct FeatureBox {
    key: String,
    name: String,
    description: String,
    /// For how long the plan grants it, if that is limited.
    duration: String,
    is_checked: bool,
    /// Whether the catalogue contains it.
    is_sold: bool,
}

/// A field for the quantity of what is counted.
struct CountField {
    key: String,
    name: String,
    description: String,
    value: String,
    /// What the plan grants; empty for none.
    planned: String,
    /// What it is called after the number one, after other numbers, and if it is unlimited.
    called: [String; 3],
}

/// The lengths of leases that licenses have unless their terms say otherwise.
pub(super) struct Defaults {
    pub(super) lease_hours: i64,
    pub(super) grace_hours: i64,
    pub(super) offline_days: i64,
}

impl Defaults {
    pub(super) fn of(app: &App) -> Self {
        Self {
            lease_hours: app.terms.lease_hours.num_hours(),
            grace_hours: app.terms.grace_hours.num_hours(),
            offline_days: app.terms.offline_days.num_days(),
        }
    }
}

/// What a page that leads to the form knows already.
#[derive(Default, Deserialize)]
pub(super) struct IssueQuery {
    #[serde(default)]
    plan: String,
    #[serde(default)]
    customer: String,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    wanted: Result<Query<IssueQuery>, QueryRejection>,
) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return trouble("licenses", unreadable(&error)),
    };
    let mut kept = Fields::default();
    if !wanted.customer.is_empty() {
        kept.set("customer", wanted.customer);
    }
    match wanted.plan.is_empty() {
        true => choice(&app, "", kept, None).await,
        false => use_plan(&app, &wanted.plan, "", kept).await,
    }
}

/// The page on which a plan is chosen. It keeps the fields of the form.
async fn choice(app: &App, chosen: &str, kept: Fields, error: Option<&ApiError>) -> Response {
    let plans = match plans::newest(app.store.reader()).await {
        Ok(plans) => plans,
        Err(error) => return trouble("licenses", error),
    };
    let page = ChoicePage {
        frame: Frame::new("licenses"),
        plans,
        chosen: chosen.to_owned(),
        kept: kept.without(&["plan", "use", "choose"]),
        error: error.map(ApiError::message),
    };
    show(error.map_or(StatusCode::OK, ApiError::status), &page)
}

/// Shows the form for a plan. If it was filled in for the plan `former`, what was changed stays.
async fn use_plan(app: &App, chosen: &str, former: &str, kept: Fields) -> Response {
    let start = app.clock.now().trunc_subsecs(0);
    let kept = kept.without(&["plan", "former", "use"]);
    let plan = match find(app, chosen).await {
        Ok(plan) => plan,
        Err(error) => return choice(app, chosen, kept, Some(&error)).await,
    };
    let new = match filled(&plan, start).map_err(IssueError::from) {
        Ok(new) => new,
        Err(error) => return choice(app, chosen, kept, Some(&ApiError::from(error))).await,
    };
    let before = match find(app, former).await {
        Ok(plan) => filled(&plan, start).unwrap_or_default(),
        Err(_) => Fields::default(),
    };
    let is_carried = before.has("plan");
    let fields = carried(&kept, &before, &new);
    form(app, fields, is_carried, None).await
}

/// The version of a plan that a field names.
async fn find(app: &App, text: &str) -> Result<PublishedPlan, ApiError> {
    if text.is_empty() {
        return Err(ApiError::BadRequest("choose a plan".to_owned()));
    }
    let plan = fields::plan(text)?;
    Ok(find_plan(app.store.reader(), &plan).await?)
}

/// Shows the form with these fields.
async fn form(app: &App, fields: Fields, is_carried: bool, error: Option<&ApiError>) -> Response {
    let status = error.map_or(StatusCode::OK, ApiError::status);
    let error = error.map(ApiError::message);
    match load(app, fields, is_carried, error).await {
        Ok(page) => show(status, &page),
        Err(error) => trouble("licenses", error),
    }
}

async fn load(
    app: &App,
    fields: Fields,
    is_carried: bool,
    error: Option<String>,
) -> Result<IssuePage, ApiError> {
    let plan = find(app, fields.text("plan")).await?;
    let db = app.store.reader();
    let items = ItemNames::read(db).await?;
    Ok(IssuePage {
        frame: Frame::new("licenses"),
        duration: plan_duration(&plan.contents).unwrap_or_default(),
        features: feature_boxes(&fields, &plan.contents, &items),
        counts: count_fields(&fields, &plan.contents, &items),
        customers: offered(db).await?,
        defaults: Defaults::of(app),
        fields,
        plan,
        is_carried,
        error,
    })
}

/// The features of the catalogue, and others that were sent.
fn feature_boxes(fields: &Fields, plan: &Plan, items: &ItemNames) -> Vec<FeatureBox> {
    let checked: BTreeSet<&str> = fields.all("feature").collect();
    let planned = plan.entitlements.iter();
    let durations = planned.filter_map(|it| Some((it.key.as_str(), it.duration?)));
    // The first one counts.
    let durations: BTreeMap<&str, CalendarDuration> = durations.rev().collect();
    let feature = |key: &str| {
        let entry = items.entry(key);
        let duration = durations.get(key).copied();
        FeatureBox {
            key: key.to_owned(),
            name: items.name(key),
            description: entry.map_or_else(String::new, |it| it.description.clone()),
            duration: duration_words(duration),
            is_checked: checked.contains(key),
            is_sold: entry.is_some(),
        }
    };
    let sold = items.entries().filter(|it| it.kind == Kind::Feature);
    let sold = sold.map(|it| it.key.as_str());
    let is_other = |key: &&str| items.entry(key).is_none_or(|it| it.kind != Kind::Feature);
    let others = fields.all("feature").filter(is_other);
    sold.chain(others).map(feature).collect()
}

/// What is counted of the catalogue.
fn count_fields(fields: &Fields, plan: &Plan, items: &ItemNames) -> Vec<CountField> {
    let counted = items.entries().filter(|it| it.kind == Kind::Count);
    let field = |entry: &CatalogueEntry| {
        let mut planned = plan.entitlements.iter().filter(|it| it.key == entry.key);
        let planned = planned.find_map(|it| it.quantity);
        CountField {
            key: entry.key.clone(),
            name: items.name(&entry.key),
            description: entry.description.clone(),
            value: fields.raw(&format!("{QUANTITY}{}", entry.key)).to_owned(),
            planned: planned.map(quantity_words).unwrap_or_default(),
            called: items.after_number(&entry.key),
        }
    };
    counted.map(field).collect()
}

/// Shows what would be issued, or the form or the choice of a plan again. The key is generated with
/// the review, so that confirming twice issues only one license.
pub(super) async fn ask(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Form(fields): Form<Fields>,
) -> Response {
    let chosen = fields.text("plan").to_owned();
    if fields.has("use") {
        let former = fields.text("former").to_owned();
        return use_plan(&app, &chosen, &former, fields).await;
    }
    if fields.has("choose") || chosen.is_empty() {
        let missing = ApiError::BadRequest("choose a plan".to_owned());
        let missing = Some(&missing).filter(|_| chosen.is_empty());
        let mut kept = fields;
        kept.set("former", chosen.as_str());
        return choice(&app, &chosen, kept, missing).await;
    }
    if fields.has("edit") {
        return form(&app, before_review(fields), false, None).await;
    }
    match reviewed(&app, actor, &fields).await {
        Ok(review) => show(StatusCode::OK, &review),
        Err(error) => form(&app, fields, false, Some(&error)).await,
    }
}

async fn reviewed(app: &App, actor: Actor, fields: &Fields) -> Result<review::Review, ApiError> {
    let plan = find(app, fields.text("plan")).await?;
    let change = app.permitted_change(actor)?;
    let request = request(fields, &plan, change.at)?;
    let draft = preview(&app.store, request, &change).await?;
    review::review(app, fields.clone(), &plan, &draft).await
}

pub(super) async fn issue(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Form(fields): Form<Fields>,
) -> Response {
    let issued = async {
        let plan = find(&app, fields.text("plan")).await?;
        let change = app.permitted_change(actor)?;
        let request = request(&fields, &plan, change.at)?;
        match issue_license(&app.store, request, &change).await {
            Ok(license) => Ok(Done::Issued.redirect(&address(&license))),
            // The form is sent again: its key was generated with the review.
            Err(IssueError::Exists(key)) if fields.text("typed_key").is_empty() => {
                let license = look_up(&app.store, &key).await?;
                Ok(Redirect::to(&address(&license)).into_response())
            }
            Err(error) => Err(ApiError::from(error)),
        }
    };
    match issued.await {
        Ok(response) => response,
        Err(error) => form(&app, before_review(fields), false, Some(&error)).await,
    }
}
