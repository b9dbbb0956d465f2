//! The add-on keys: list, issue, refund.

pub(super) mod issue;
pub(super) mod refund;

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use license_console::moment::Moment;
use license_console::number::grouped;
use license_console::page::show;
use license_core::add_on::AddOnGrant;
use sea_orm::ConnectionTrait;
use serde::Deserialize;

use super::filters::{unknown, unreadable};
use super::frame::{Frame, Said, trouble};
use crate::app::App;
use crate::http::error::ApiError;
use crate::licensing::day_words::last_day;
use crate::licensing::grant_words::grant_words;
use crate::licensing::item_words::ItemNames;
use crate::store::add_ons::{AddOnState, AddOnsCursor, AddOnsQuery, StoredAddOn, count, newest};
use crate::store::{StoreError, licenses};

/// Add-on keys on a page.
const ROWS: u64 = 50;
/// Maximum number of things that a row names.
const MAX_NAMED: usize = 10;

#[derive(Template)]
#[template(path = "add_ons.html")]
struct AddOnsPage {
    frame: Frame,
    wanted: ListQuery,
    rows: Vec<Row>,
    total: String,
    older: Option<i64>,
    error: Option<String>,
}

struct Row {
    id: i64,
    masked: String,
    plan: Option<String>,
    granted: Vec<String>,
    /// How many more things it grants.
    others: usize,
    order: Option<String>,
    note: Option<String>,
    /// `issued`, `expired`, `redeemed` or `refunded`.
    state: &'static str,
    redeemed: Option<RedeemedFor>,
    /// When it was redeemed or refunded.
    changed: Option<Moment>,
    /// Empty if it has no end.
    redeem_by: String,
    issued: Moment,
    issued_by: String,
}

/// The license that has redeemed a key.
struct RedeemedFor {
    license: String,
    /// Empty if the license has no customer.
    customer: String,
}

#[derive(Default, Deserialize)]
pub(super) struct ListQuery {
    /// One of the states of rows, or empty.
    #[serde(default)]
    state: String,
    #[serde(default)]
    before: Option<i64>,
}

impl ListQuery {
    fn filter(&self, now: DateTime<Utc>) -> Result<AddOnsQuery, ApiError> {
        let (state, expired_at) = match self.state.as_str() {
            "" => (None, None),
            "issued" => (Some(AddOnState::Issued), None),
            "expired" => (Some(AddOnState::Issued), Some(now)),
            "redeemed" => (Some(AddOnState::Redeemed), None),
            "refunded" => (Some(AddOnState::Refunded), None),
            text => {
                let expected = "issued, expired, redeemed or refunded";
                return Err(unknown("state", text, expected));
            }
        };
        Ok(AddOnsQuery {
            state,
            expired_at,
            ..AddOnsQuery::default()
        })
    }
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    wanted: Result<Query<ListQuery>, QueryRejection>,
    said: Result<Query<Said>, QueryRejection>,
) -> Response {
    let done = said.map(|Query(said)| said).unwrap_or_default().done;
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return trouble("add-ons", unreadable(&error)),
    };
    let now = app.clock.now();
    let mut page = AddOnsPage {
        frame: Frame::new("add-ons").after(done),
        wanted,
        rows: Vec::new(),
        total: String::new(),
        older: None,
        error: None,
    };
    let filled = match page.wanted.filter(now) {
        Ok(filter) => page.fill(&app, &filter, now).await.map_err(ApiError::from),
        Err(error) => Err(error),
    };
    match filled {
        Ok(()) => show(StatusCode::OK, &page),
        Err(error) => {
            page.error = Some(error.message());
            show(error.status(), &page)
        }
    }
}

impl AddOnsPage {
    async fn fill(
        &mut self,
        app: &App,
        filter: &AddOnsQuery,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let db = app.store.reader();
        let after = self.wanted.before.map(|below| AddOnsCursor { below });
        self.total = grouped(count(db, filter).await?);
        let items = ItemNames::read(db).await?;
        let found = newest(db, filter, after.as_ref(), ROWS).await?;
        self.older = found.last_of_more().map(|last| last.id);
        let found = found.rows;
        let customers = customers(db, &found).await?;
        let rows = found.into_iter().map(|it| row(it, &items, &customers, now));
        self.rows = rows.collect();
        Ok(())
    }
}

/// The customers of the licenses that have redeemed the keys, by the ids of the licenses.
async fn customers(
    db: &impl ConnectionTrait,
    add_ons: &[StoredAddOn],
) -> Result<BTreeMap<String, String>, StoreError> {
    let redeemed = add_ons.iter().filter_map(|it| it.add_on.redeemed.as_ref());
    let ids = redeemed.map(|it| it.license.clone()).collect();
    let found = licenses::named(db, ids).await?.into_iter();
    Ok(found.map(|it| (it.id, it.customer)).collect())
}

fn row(
    stored: StoredAddOn,
    items: &ItemNames,
    customers: &BTreeMap<String, String>,
    now: DateTime<Utc>,
) -> Row {
    let state = match stored.state() {
        AddOnState::Issued if stored.add_on.expired(now).is_some() => "expired",
        state => state.as_str(),
    };
    let mut granted = granted(&stored.add_on.grants, items);
    let others = granted.len().saturating_sub(MAX_NAMED);
    granted.truncate(MAX_NAMED);
    let redeemed = stored.add_on.redeemed.map(|it| RedeemedFor {
        customer: customers.get(&it.license).cloned().unwrap_or_default(),
        license: it.license,
    });
    Row {
        id: stored.id,
        masked: stored.masked,
        plan: stored.plan,
        granted,
        others,
        order: stored.order,
        note: stored.note,
        state,
        redeemed,
        changed: stored.refunded_at.or(stored.redeemed_at).map(Moment::of),
        redeem_by: stored.add_on.redeem_by.map(last_day).unwrap_or_default(),
        issued: Moment::of(stored.created_at),
        issued_by: stored.created_by,
    }
}

/// What a key grants, one statement for each thing.
fn granted(grants: &[AddOnGrant], items: &ItemNames) -> Vec<String> {
    grants.iter().map(|it| grant_words(it, items)).collect()
}
