//! All licenses: search, filter, sort, page.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use clap::ValueEnum as _;
use license_console::moment::Moment;
use license_console::page::show;
use license_core::document::DenialReason;
use license_core::license_key::mask;
use serde::Deserialize;

use super::frame::{Frame, trouble};
use super::pager::{Pager, ROWS};
use crate::app::App;
use crate::licensing::catalogue::Tier;
use crate::licensing::issue::end_of;
use crate::licensing::judge::judge;
use crate::store::licenses::{License, Search, Sort};
use crate::store::{StoreError, licenses, seats};

/// What the address says. What it does not say, or says wrongly, is everything.
#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    search: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    tier: String,
    /// A day, or `expired`.
    #[serde(default)]
    ends: String,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    page: String,
}

#[derive(Template)]
#[template(path = "licenses.html")]
struct Page {
    frame: Frame,
    wanted: Wanted,
    tiers: Vec<&'static str>,
    rows: Vec<Row>,
    pager: Pager,
}

struct Row {
    id: String,
    key: String,
    customer: String,
    tier: String,
    status: &'static str,
    seats: String,
    ends: Option<Moment>,
    expired: bool,
}

impl Wanted {
    fn search(&self, now: chrono::DateTime<chrono::Utc>) -> Search {
        let (name, reversed) = match self.sort.strip_prefix('-') {
            Some(name) => (name, true),
            None => (self.sort.as_str(), false),
        };
        let end = end_of(&self.ends);
        let has_ended = self.ends == "expired";
        Search {
            text: self.search.clone(),
            status: self.status.parse().ok(),
            tier: Some(self.tier.clone()).filter(|tier| !tier.is_empty()),
            ends_by: if has_ended { Some(now) } else { end },
            ends_after: end.map(|_| now),
            sort: match name {
                "updated" => Sort::Updated,
                "customer" => Sort::Customer,
                "expires" => Sort::Expires,
                _ => Sort::Created,
            },
            reversed,
        }
    }
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let wanted = wanted.map(|Query(wanted)| wanted).unwrap_or_default();
    match look(&app, wanted).await {
        Ok(page) => show(StatusCode::OK, &page),
        Err(error) => trouble("licenses", error),
    }
}

async fn look(app: &App, wanted: Wanted) -> Result<Page, StoreError> {
    let (db, now) = (app.store.reader(), app.clock.now());
    let search = wanted.search(now);
    let number = wanted.page.parse().unwrap_or(1);
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
    let found = licenses::list(db, &search, Pager::offset(pager.page), ROWS).await?;
    let ids = found.iter().map(|license| license.id.clone()).collect();
    let held = seats::count_held_of(db, ids).await?;
    let row = |license: License| Row {
        seats: format!(
            "{} of {}",
            held.get(&license.id).copied().unwrap_or_default(),
            license.seats
        ),
        key: mask(&license.license_key),
        expired: judge(license.status, license.expires_at, now) == Some(DenialReason::Expired),
        ends: license.expires_at.map(Moment::of),
        id: license.id,
        customer: license.customer,
        tier: license.tier,
        status: license.status.as_str(),
    };
    Ok(Page {
        frame: Frame::new("licenses"),
        tiers: Tier::value_variants()
            .iter()
            .map(|tier| tier.bundle().name)
            .collect(),
        rows: found.into_iter().map(row).collect(),
        pager,
        wanted,
    })
}
