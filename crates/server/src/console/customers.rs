//! Customers: search, and one of them with its licenses.

pub(super) mod edit;
pub(super) mod merge;

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use license_console::moment::Moment;
use license_console::page::show;
use license_core::license_key::mask;
use sea_orm::ConnectionTrait;
use serde::Deserialize;

use super::ends::ShownEnd;
use super::filters::{PageQuery, check_box, page_number, unknown, unreadable, wanted_page};
use super::frame::{Frame, Said, trouble};
use super::pager::{Pager, left};
use crate::app::App;
use crate::http::error::ApiError;
use crate::licensing::current::all_current;
use crate::licensing::customers::look_up;
use crate::licensing::judge::ShownStatus;
use crate::store::StoreError;
use crate::store::customers::{self, Customer, CustomersSearch, CustomersSort};
use crate::store::licenses::{self, Search, count_of_customers};
use crate::store::page::PageStart;

/// The filters in the address.
#[derive(Default, Deserialize)]
pub(super) struct CustomersQuery {
    #[serde(default)]
    search: String,
    /// Those that were merged into others, instead of the others.
    #[serde(default)]
    merged: String,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    page: String,
}

#[derive(Template)]
#[template(path = "customers.html")]
struct CustomersPage {
    frame: Frame,
    wanted: CustomersQuery,
    rows: Vec<Row>,
    pager: Pager,
    /// Why the address is invalid.
    error: Option<String>,
}

struct Row {
    id: String,
    name: String,
    reference: Option<String>,
    /// The first contact.
    contact: String,
    licenses: u64,
    updated: Moment,
}

impl CustomersQuery {
    fn search(&self) -> Result<CustomersSearch, ApiError> {
        let sort = match self.sort.as_str() {
            "" | "name" => CustomersSort::Name,
            "createdAt" => CustomersSort::CreatedAt,
            "updatedAt" => CustomersSort::UpdatedAt,
            text => {
                let expected = "name, createdAt or updatedAt";
                return Err(unknown("sort order", text, expected));
            }
        };
        Ok(CustomersSearch {
            text: self.search.clone(),
            merged: check_box("merged", &self.merged)?,
            sort,
            order: None,
        })
    }
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    wanted: Result<Query<CustomersQuery>, QueryRejection>,
    said: Result<Query<Said>, QueryRejection>,
) -> Response {
    let done = said.map(|Query(said)| said).unwrap_or_default().done;
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return trouble("customers", unreadable(&error)),
    };
    let filters = wanted.search();
    let filters = filters.and_then(|search| Ok((search, page_number(&wanted.page)?)));
    match filters {
        Ok((search, number)) => match load(&app, wanted, search, number).await {
            Ok(mut page) => {
                page.frame = Frame::new("customers").after(done);
                show(StatusCode::OK, &page)
            }
            Err(error) => trouble("customers", error),
        },
        Err(error) => {
            let page = CustomersPage {
                frame: Frame::new("customers"),
                rows: Vec::new(),
                pager: Pager::new(1, 0, &[]),
                error: Some(error.message()),
                wanted,
            };
            show(error.status(), &page)
        }
    }
}

async fn load(
    app: &App,
    wanted: CustomersQuery,
    search: CustomersSearch,
    number: u64,
) -> Result<CustomersPage, ApiError> {
    let db = app.store.reader();
    let total = customers::count(db, &search).await?;
    let query = [
        ("search", wanted.search.as_str()),
        ("merged", &wanted.merged),
        ("sort", &wanted.sort),
    ];
    let pager = Pager::new(number, total, &query);
    let offset = Pager::offset(pager.page);
    Ok(CustomersPage {
        frame: Frame::new("customers"),
        rows: app.store.in_share(rows(db, &search, offset)).await?,
        pager,
        error: None,
        wanted,
    })
}

async fn rows(
    db: &impl ConnectionTrait,
    search: &CustomersSearch,
    offset: u64,
) -> Result<Vec<Row>, StoreError> {
    let mut start = PageStart::Offset(offset);
    let mut rows = Vec::new();
    while let Some(left) = left(rows.len()) {
        let found = customers::list(db, search, &start, left).await?;
        let last = found.last_of_more().map(|last| search.cursor(last));
        let ids = found.rows.iter().map(|it| it.id.clone()).collect();
        let licenses = count_of_customers(db, ids).await?;
        rows.extend(found.rows.into_iter().map(|customer| Row {
            licenses: licenses.get(&customer.id).copied().unwrap_or_default(),
            contact: first_contact(&customer),
            updated: Moment::of(customer.updated_at),
            id: customer.id,
            name: customer.name,
            reference: customer.reference,
        }));
        match last {
            Some(last) => start = PageStart::After(last),
            None => break,
        }
    }
    Ok(rows)
}

fn first_contact(customer: &Customer) -> String {
    let Some(contact) = customer.contacts.first() else {
        return String::new();
    };
    let texts = [
        Some(contact.name.as_str()),
        contact.email.as_deref(),
        contact.phone.as_deref(),
    ];
    let mut texts = texts.into_iter().flatten().filter(|text| !text.is_empty());
    texts.next().unwrap_or_default().to_owned()
}

#[derive(Template)]
#[template(path = "customer.html")]
struct CustomerPage {
    frame: Frame,
    customer: Customer,
    created: Moment,
    updated: Moment,
    /// The customer that this record was merged into.
    merged_into: Option<Customer>,
    licenses: Vec<LicenseRow>,
    pager: Pager,
}

struct LicenseRow {
    id: String,
    key: String,
    plan: String,
    status: &'static str,
    ends: ShownEnd,
}

pub(super) async fn customer(
    State(app): State<Arc<App>>,
    Path(customer): Path<String>,
    said: Result<Query<Said>, QueryRejection>,
    wanted: Result<Query<PageQuery>, QueryRejection>,
) -> Response {
    let done = said.map(|Query(said)| said).unwrap_or_default().done;
    let number = match wanted_page(wanted) {
        Ok(number) => number,
        Err(error) => return trouble("customers", error),
    };
    match load_one(&app, &customer, number).await {
        Ok(mut page) => {
            page.frame = Frame::new("customers").after(done);
            show(StatusCode::OK, &page)
        }
        Err(error) => trouble("customers", error),
    }
}

async fn load_one(app: &App, customer: &str, number: u64) -> Result<CustomerPage, ApiError> {
    let (db, now) = (app.store.reader(), app.clock.now());
    let customer = look_up(db, customer).await?;
    let merged_into = match &customer.merged_into {
        Some(_) => customers::find_merged(db, &customer.id).await?,
        None => None,
    };
    let search = Search {
        customer_id: Some(customer.id.clone()),
        ..Search::default()
    };
    let total = licenses::count(db, &search).await?;
    let pager = Pager::new(number, total, &[]);
    let offset = Pager::offset(pager.page);
    let rows = app.store.in_share(license_rows(db, &search, offset, now));
    Ok(CustomerPage {
        licenses: rows.await?,
        frame: Frame::new("customers"),
        created: Moment::of(customer.created_at),
        updated: Moment::of(customer.updated_at),
        merged_into,
        pager,
        customer,
    })
}

async fn license_rows(
    db: &impl ConnectionTrait,
    search: &Search,
    offset: u64,
    now: DateTime<Utc>,
) -> Result<Vec<LicenseRow>, StoreError> {
    let mut start = PageStart::Offset(offset);
    let mut rows = Vec::new();
    while let Some(left) = left(rows.len()) {
        let found = licenses::list(db, search, &start, left).await?;
        let last = found.last_of_more().map(|last| search.cursor(last));
        let found = all_current(db, found.rows, now).await?;
        rows.extend(found.into_iter().map(|license| LicenseRow {
            key: mask(&license.license_key),
            status: ShownStatus::of(&license, now).as_str(),
            ends: ShownEnd::of(&license),
            id: license.id,
            plan: license.plan,
        }));
        match last {
            Some(last) => start = PageStart::After(last),
            None => break,
        }
    }
    Ok(rows)
}

/// The URL of a customer's page.
fn address(customer: &Customer) -> String {
    format!("/console/customers/{}", customer.id)
}
