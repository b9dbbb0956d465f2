//! The plans, what a version of one contains, and the catalogue of what can be sold.

pub(super) mod edit;

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use license_console::moment::Moment;
use license_console::page::show;
use license_core::catalogue::{CatalogueEntry, Kind};
use serde::Deserialize;

use super::filters::{PageQuery, unreadable, wanted_page};
use super::frame::{Frame, Said, trouble};
use super::pager::{Pager, ROWS};
use super::term_words::{TermFact, duration_words, term_facts};
use crate::app::App;
use crate::http::error::ApiError;
use crate::licensing::item_words::{ItemNames, quantity_words};
use crate::licensing::plan_words;
use crate::licensing::plans::plan_versions;
use crate::store::plans::{PublishedPlan, newest};
use crate::store::{StoreError, catalogue};

/// Maximum number of versions of a plan in the list on its page.
const VERSIONS: usize = 50;

#[derive(Template)]
#[template(path = "plans.html")]
struct PlansPage {
    frame: Frame,
    rows: Vec<PlanRow>,
    pager: Pager,
}

struct PlanRow {
    name: String,
    version: u32,
    title: String,
    description: String,
    is_trial: bool,
    is_add_on: bool,
    duration: String,
    /// What it grants, in short.
    granted: String,
    published: Option<Moment>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    wanted: Result<Query<PageQuery>, QueryRejection>,
    said: Result<Query<Said>, QueryRejection>,
) -> Response {
    let number = match wanted_page(wanted) {
        Ok(number) => number,
        Err(error) => return trouble("plans", error),
    };
    match load(&app, number).await {
        Ok(mut page) => {
            page.frame = frame_after(said);
            show(StatusCode::OK, &page)
        }
        Err(error) => trouble("plans", error),
    }
}

fn frame_after(said: Result<Query<Said>, QueryRejection>) -> Frame {
    let done = said.map(|Query(said)| said).unwrap_or_default().done;
    Frame::new("plans").after(done)
}

async fn load(app: &App, number: u64) -> Result<PlansPage, StoreError> {
    let db = app.store.reader();
    let items = ItemNames::read(db).await?;
    let plans = newest(db).await?;
    let pager = Pager::new(number, plans.len() as u64, &[]);
    let rows = on_page(plans, &pager).map(|it| plan_row(it, &items));
    Ok(PlansPage {
        frame: Frame::new("plans"),
        rows: rows.collect(),
        pager,
    })
}

fn on_page<T>(all: Vec<T>, pager: &Pager) -> impl Iterator<Item = T> {
    let before = usize::try_from(Pager::offset(pager.page)).unwrap_or(usize::MAX);
    let rows = usize::try_from(ROWS).unwrap_or(usize::MAX);
    all.into_iter().skip(before).take(rows)
}

fn plan_row(plan: PublishedPlan, items: &ItemNames) -> PlanRow {
    let contents = plan.contents;
    let features = contents
        .entitlements
        .iter()
        .filter(|it| it.quantity.is_none());
    let features = match features.count() {
        0 => "core features only".to_owned(),
        1 => "1 feature".to_owned(),
        count => format!("{count} features"),
    };
    let counted = contents
        .entitlements
        .iter()
        .filter(|it| it.quantity.is_some());
    let counted = counted.map(|it| items.granted(&it.key, it.quantity));
    PlanRow {
        granted: std::iter::once(features)
            .chain(counted)
            .collect::<Vec<_>>()
            .join(", "),
        name: plan.version.name,
        version: plan.version.version,
        duration: plan_words::duration_words(&contents),
        title: contents.title,
        description: contents.description,
        is_trial: contents.trial,
        is_add_on: contents.add_on,
        published: plan.published_at.map(Moment::of),
    }
}

#[derive(Template)]
#[template(path = "plan.html")]
struct PlanPage {
    frame: Frame,
    plan: PublishedPlan,
    duration: String,
    published: Option<Moment>,
    is_newest: bool,
    granted: Vec<Granted>,
    terms: Vec<TermFact>,
    /// For how long releases are covered; empty for all of them.
    updates_for: String,
    versions: Vec<VersionRow>,
    /// How many versions are not listed.
    others: usize,
}

struct Granted {
    name: String,
    /// Empty for a feature.
    quantity: String,
    /// For how long; empty for as long as the license.
    duration: String,
}

struct VersionRow {
    version: u32,
    author: String,
    published: Option<Moment>,
}

/// The version to show; without one, the newest.
#[derive(Default, Deserialize)]
pub(super) struct VersionQuery {
    #[serde(default)]
    version: Option<u32>,
}

pub(super) async fn plan(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    wanted: Result<Query<VersionQuery>, QueryRejection>,
    said: Result<Query<Said>, QueryRejection>,
) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted.version,
        Err(error) => return trouble("plans", unreadable(&error)),
    };
    match load_plan(&app, &name, wanted).await {
        Ok(mut page) => {
            page.frame = frame_after(said);
            show(StatusCode::OK, &page)
        }
        Err(error) => trouble("plans", error),
    }
}

async fn load_plan(app: &App, name: &str, version: Option<u32>) -> Result<PlanPage, ApiError> {
    let db = app.store.reader();
    let items = ItemNames::read(db).await?;
    let versions = plan_versions(db, name).await?;
    let place = match version {
        None => Some(0),
        Some(version) => versions.iter().position(|it| it.version.version == version),
    };
    let unknown = || {
        let version = version.unwrap_or_default();
        ApiError::Unknown(format!("the plan '{name}' has no version {version}"))
    };
    let place = place.ok_or_else(unknown)?;
    let plan = versions.get(place).ok_or_else(unknown)?.clone();
    let contents = &plan.contents;
    // For how long releases are covered is shown as a duration, so that any start will do.
    let terms = contents.terms(DateTime::<Utc>::UNIX_EPOCH);
    let terms = terms.map_err(|error| ApiError::BadRequest(error.to_string()))?;
    let mut terms = term_facts(&app.terms, &terms, None);
    terms.retain(|it| it.code != "updates");
    Ok(PlanPage {
        frame: Frame::new("plans"),
        duration: plan_words::duration_words(contents),
        published: plan.published_at.map(Moment::of),
        is_newest: place == 0,
        granted: contents
            .entitlements
            .iter()
            .map(|it| Granted {
                name: items.name(&it.key),
                quantity: it.quantity.map(quantity_words).unwrap_or_default(),
                duration: duration_words(it.duration),
            })
            .collect(),
        terms,
        updates_for: duration_words(contents.terms.updates_for),
        others: versions.len().saturating_sub(VERSIONS),
        versions: versions
            .into_iter()
            .take(VERSIONS)
            .map(|it| VersionRow {
                version: it.version.version,
                author: it.author,
                published: it.published_at.map(Moment::of),
            })
            .collect(),
        plan,
    })
}

#[derive(Template)]
#[template(path = "catalogue.html")]
struct CataloguePage {
    frame: Frame,
    rows: Vec<CatalogueEntry>,
    pager: Pager,
}

pub(super) async fn catalogue_page(
    State(app): State<Arc<App>>,
    wanted: Result<Query<PageQuery>, QueryRejection>,
    said: Result<Query<Said>, QueryRejection>,
) -> Response {
    let number = match wanted_page(wanted) {
        Ok(number) => number,
        Err(error) => return trouble("plans", error),
    };
    match entries_on_page(&app, number).await {
        Ok((rows, pager)) => {
            let frame = frame_after(said);
            let page = CataloguePage { frame, rows, pager };
            show(StatusCode::OK, &page)
        }
        Err(error) => trouble("plans", error),
    }
}

/// The entries on a page of the catalogue.
async fn entries_on_page(
    app: &App,
    number: u64,
) -> Result<(Vec<CatalogueEntry>, Pager), StoreError> {
    let entries = catalogue::list(app.store.reader()).await?;
    let pager = Pager::new(number, entries.len() as u64, &[]);
    Ok((on_page(entries, &pager).collect(), pager))
}
