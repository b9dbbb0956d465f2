//! All licenses: search, filters, sorting, pages.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use clap::ValueEnum as _;
use license_console::moment::Moment;
use license_console::page::show;
use license_core::license_key::mask;
use serde::Deserialize;

use super::filters::{page_number, unknown, unreadable};
use super::frame::{Frame, trouble};
use super::pager::{Pager, ROWS};
use crate::app::App;
use crate::http::error::ApiError;
use crate::licensing::catalogue::Tier;
use crate::licensing::current::all_current;
use crate::licensing::expiry::end_of;
use crate::licensing::judge::ShownStatus;
use crate::store::licenses::{License, Search, Sort};
use crate::store::page::PageStart;
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
    tier: String,
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
    tiers: Vec<&'static str>,
    statuses: [ShownStatus; 4],
    rows: Vec<Row>,
    pager: Pager,
    /// Why the address is invalid.
    error: Option<String>,
}

struct Row {
    id: String,
    key: String,
    customer: String,
    tier: String,
    status: &'static str,
    seats: String,
    ends: Option<Moment>,
}

impl LicensesQuery {
    fn search(&self, now: chrono::DateTime<chrono::Utc>) -> Result<Search, ApiError> {
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
        let is_tier = |tier: &Tier| tier.name() == self.tier;
        if !self.tier.is_empty() && !Tier::value_variants().iter().any(is_tier) {
            let names: Vec<_> = Tier::value_variants().iter().map(|it| it.name()).collect();
            return Err(unknown("tier", &self.tier, &names.join(", ")));
        }
        let search = Search {
            customer_id: None,
            text: self.search.clone(),
            status: None,
            ended: None,
            tier: Some(self.tier.clone()).filter(|tier| !tier.is_empty()),
            expires_until: if has_ended { Some(now) } else { end },
            expires_after: end.map(|_| now),
            sort,
            order: is_reversed.then(|| sort.default_order().opposite()),
        };
        if self.status.is_empty() {
            return Ok(search);
        }
        let is_it = |status: &ShownStatus| status.as_str() == self.status;
        let status = ShownStatus::ALL.into_iter().find(is_it).ok_or_else(|| {
            let expected = "active, expired, suspended or revoked";
            unknown("status", &self.status, expected)
        })?;
        Ok(search.called(status.decided(), status.has_ended(), now))
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
    let filters = wanted.search(app.clock.now());
    let filters = filters.and_then(|search| Ok((search, page_number(&wanted.page)?)));
    match filters {
        Ok((search, number)) => match load(&app, wanted, search, number).await {
            Ok(page) => show(StatusCode::OK, &page),
            Err(error) => trouble("licenses", error),
        },
        Err(error) => {
            let page = LicensesPage {
                error: Some(error.message()),
                ..LicensesPage::empty(wanted)
            };
            show(error.status(), &page)
        }
    }
}

async fn load(
    app: &App,
    wanted: LicensesQuery,
    search: Search,
    number: u64,
) -> Result<LicensesPage, StoreError> {
    let (db, now) = (app.store.reader(), app.clock.now());
    let total = licenses::count(db, &search).await?;
    let pager = Pager::new(
        number,
        total,
        &[
            ("search", &wanted.search),
            ("status", &wanted.status),
            ("tier", &wanted.tier),
            ("ends", &wanted.ends),
            ("sort", &wanted.sort),
        ],
    );
    let start = PageStart::Offset(Pager::offset(pager.page));
    let found = licenses::list(db, &search, &start, ROWS).await?;
    let found = all_current(db, found, now).await?;
    let ids = found.iter().map(|license| license.id.clone()).collect();
    let held = seats::count_held_of(db, ids).await?;
    let row = |license: License| Row {
        seats: format!(
            "{} of {}",
            held.get(&license.id).copied().unwrap_or_default(),
            license.seats
        ),
        key: mask(&license.license_key),
        status: ShownStatus::of(&license, now).as_str(),
        ends: license.expires_at.map(Moment::of),
        id: license.id,
        customer: license.customer,
        tier: license.tier,
    };
    Ok(LicensesPage {
        rows: found.into_iter().map(row).collect(),
        pager,
        ..LicensesPage::empty(wanted)
    })
}

impl LicensesPage {
    fn empty(wanted: LicensesQuery) -> Self {
        Self {
            frame: Frame::new("licenses"),
            tiers: Tier::value_variants()
                .iter()
                .map(|tier| tier.name())
                .collect(),
            statuses: ShownStatus::ALL,
            rows: Vec::new(),
            pager: Pager::new(1, 0, &[]),
            error: None,
            wanted,
        }
    }
}
