//! All licenses: search, filters, sorting, pages.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use license_console::page::show;
use license_core::license_key::mask;
use license_core::license_state::LicenseState;
use license_core::plan::PlanChoice;
use sea_orm::ConnectionTrait;
use serde::Deserialize;

use super::ends::ShownEnd;
use super::exports::file;
use super::filters::{check_box, page_number, unknown, unreadable};
use super::frame::{Frame, trouble};
use super::pager::{Pager, left};
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::staff_stream::StaffStream;
use crate::licensing::current::all_current;
use crate::licensing::expiry::end_of;
use crate::licensing::exports::LicensesExport;
use crate::licensing::judge::ShownStatus;
use crate::licensing::plans::{FindPlanError, find_plan};
use crate::store::licenses::{Search, Sort};
use crate::store::page::PageStart;
use crate::store::plans::{self, PublishedPlan};
use crate::store::{StoreError, licenses, seats};

/// The filters in the address. A missing filter includes everything; an invalid one is
/// shown as an error.
#[derive(Default, Deserialize)]
pub(super) struct LicensesQuery {
    #[serde(default)]
    search: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    trial: String,
    /// A plan, with or without a version. Addresses from before there were plans name a tier.
    #[serde(default, alias = "tier")]
    plan: String,
    /// A date, or `expired`.
    #[serde(default)]
    ends: String,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    page: String,
}

#[derive(Template)]
#[template(path = "licenses.html")]
struct LicensesPage {
    frame: Frame,
    wanted: LicensesQuery,
    /// The plans that licenses can have.
    plans: Vec<PublishedPlan>,
    statuses: [ShownStatus; 6],
    rows: Vec<Row>,
    pager: Pager,
    /// Why the address is invalid.
    error: Option<String>,
}

struct Row {
    id: String,
    key: String,
    customer: String,
    plan: String,
    status: &'static str,
    trial: bool,
    seats: String,
    ends: ShownEnd,
}

impl LicensesQuery {
    async fn search(
        &self,
        db: &impl ConnectionTrait,
        now: DateTime<Utc>,
    ) -> Result<Search, ApiError> {
        let (name, is_reversed) = match self.sort.strip_prefix('-') {
            Some(name) => (name, true),
            None => (self.sort.as_str(), false),
        };
        let sort = match name {
            "" if is_reversed => return Err(unknown("sort order", &self.sort, "createdAt")),
            "" | "createdAt" => Sort::CreatedAt,
            "updatedAt" => Sort::UpdatedAt,
            "customer" => Sort::Customer,
            "expiresAt" => Sort::ExpiresAt,
            _ => {
                let expected = "createdAt, updatedAt, customer or expiresAt";
                return Err(unknown("sort order", &self.sort, expected));
            }
        };
        let has_ended = self.ends == "expired";
        let end = match self.ends.trim() {
            "" | "expired" => None,
            text => {
                let expected = "a date such as 2030-12-31, or expired";
                Some(end_of(text).ok_or_else(|| unknown("end", text, expected))?)
            }
        };
        Ok(Search {
            customer_id: None,
            text: self.search.clone(),
            state: self.state(now)?,
            trial: check_box("trial", &self.trial)?.then_some(true),
            tier: None,
            plan: self.plan(db).await?,
            expires_until: if has_ended { Some(now) } else { end },
            expires_after: end.map(|_| now),
            sort,
            order: is_reversed.then(|| sort.default_order().opposite()),
        })
    }

    async fn plan(&self, db: &impl ConnectionTrait) -> Result<Option<PlanChoice>, ApiError> {
        if self.plan.is_empty() {
            return Ok(None);
        }
        if let Ok(plan) = self.plan.parse() {
            match find_plan(db, &plan).await {
                Ok(_) => return Ok(Some(plan)),
                Err(FindPlanError::Store(error)) => return Err(error.into()),
                Err(FindPlanError::Unknown(_) | FindPlanError::UnknownVersion { .. }) => {}
            }
        }
        let plans = offered(db).await?;
        let names: Vec<_> = plans.iter().map(|it| it.version.name.as_str()).collect();
        Err(unknown("plan", &self.plan, &names.join(", ")))
    }

    fn state(&self, now: DateTime<Utc>) -> Result<Option<(LicenseState, DateTime<Utc>)>, ApiError> {
        if self.status.is_empty() {
            return Ok(None);
        }
        let status = ShownStatus::named(&self.status).ok_or_else(|| {
            let expected = "scheduled, active, expiring, expired, suspended or revoked";
            unknown("status", &self.status, expected)
        })?;
        Ok(Some((status.state(), now)))
    }
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    wanted: Result<Query<LicensesQuery>, QueryRejection>,
) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return trouble("licenses", unreadable(&error)),
    };
    let db = app.store.reader();
    let filters = wanted.search(db, app.clock.now()).await;
    let filters = filters.and_then(|search| Ok((search, page_number(&wanted.page)?)));
    match filters {
        Ok((search, number)) => match load(&app, wanted, search, number).await {
            Ok(page) => show(StatusCode::OK, &page),
            Err(error) => trouble("licenses", error),
        },
        Err(error) => {
            let page = LicensesPage {
                error: Some(error.message()),
                ..LicensesPage::empty(wanted, offered(db).await.unwrap_or_default())
            };
            show(error.status(), &page)
        }
    }
}

/// The matching licenses on all pages, as a file.
pub(super) async fn export(
    State(app): State<Arc<App>>,
    stream: StaffStream,
    wanted: Result<Query<LicensesQuery>, QueryRejection>,
) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return trouble("licenses", unreadable(&error)),
    };
    let now = app.clock.now();
    match wanted.search(app.store.reader(), now).await {
        Ok(search) => file(stream, "licenses", LicensesExport::new(search, now)).await,
        Err(error) => trouble("licenses", error),
    }
}

async fn load(
    app: &App,
    wanted: LicensesQuery,
    search: Search,
    number: u64,
) -> Result<LicensesPage, StoreError> {
    let (db, now) = (app.store.reader(), app.clock.now());
    let plans = offered(db).await?;
    let total = licenses::count(db, &search).await?;
    let pager = Pager::new(
        number,
        total,
        &[
            ("search", &wanted.search),
            ("status", &wanted.status),
            ("trial", &wanted.trial),
            ("plan", &wanted.plan),
            ("ends", &wanted.ends),
            ("sort", &wanted.sort),
        ],
    );
    let offset = Pager::offset(pager.page);
    Ok(LicensesPage {
        rows: app.store.in_share(rows(db, &search, offset, now)).await?,
        pager,
        ..LicensesPage::empty(wanted, plans)
    })
}

async fn rows(
    db: &impl ConnectionTrait,
    search: &Search,
    offset: u64,
    now: DateTime<Utc>,
) -> Result<Vec<Row>, StoreError> {
    let mut start = PageStart::Offset(offset);
    let mut rows = Vec::new();
    while let Some(left) = left(rows.len()) {
        let found = licenses::list(db, search, &start, left).await?;
        let last = found.last_of_more().map(|last| search.cursor(last));
        let ids = found.rows.iter().map(|license| license.id.clone());
        let held = seats::count_held_of(db, ids.collect()).await?;
        let found = all_current(db, found.rows, now).await?;
        rows.extend(found.into_iter().map(|license| Row {
            seats: format!(
                "{} of {}",
                held.get(&license.id).copied().unwrap_or_default(),
                license.seats
            ),
            key: mask(&license.license_key),
            status: ShownStatus::of(&license, now).as_str(),
            trial: license.trial,
            ends: ShownEnd::of(&license),
            id: license.id,
            customer: license.customer,
            plan: license.plan,
        }));
        match last {
            Some(last) => start = PageStart::After(last),
            None => break,
        }
    }
    Ok(rows)
}

/// The plans that licenses can have, by name.
async fn offered(db: &impl ConnectionTrait) -> Result<Vec<PublishedPlan>, StoreError> {
    let mut plans = plans::newest(db).await?;
    plans.retain(|it| !it.contents.add_on);
    Ok(plans)
}

impl LicensesPage {
    fn empty(wanted: LicensesQuery, plans: Vec<PublishedPlan>) -> Self {
        Self {
            frame: Frame::new("licenses"),
            plans,
            statuses: ShownStatus::ALL,
            rows: Vec::new(),
            pager: Pager::new(1, 0, &[]),
            error: None,
            wanted,
        }
    }
}
