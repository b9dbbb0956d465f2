//! Known customers, offered while the name of one is typed.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use license_console::page::show;
use sea_orm::ConnectionTrait;
use serde::Deserialize;

use super::filters::unreadable;
use super::frame::trouble;
use crate::app::App;
use crate::store::StoreError;
use crate::store::customers::{self, Customer, CustomersSearch, NamedCustomer};

/// Maximum number of customers that are offered with a page: without the console's script, these are
/// all.
const OFFERED: u64 = 100;
/// Maximum number of customers that are offered for what was typed.
const MATCHES: u64 = 20;
/// Maximum number of similar names.
const SIMILAR: u64 = 5;
/// How many characters names have in common that are similar.
const SIMILAR_CHARS: usize = 4;

/// The answer to the console's script.
#[derive(Template)]
#[template(path = "known_customers.html")]
struct Matches {
    customers: Vec<NamedCustomer>,
}

#[derive(Default, Deserialize)]
pub(super) struct CompletionQuery {
    #[serde(default)]
    search: String,
}

pub(super) async fn matches(
    State(app): State<Arc<App>>,
    wanted: Result<Query<CompletionQuery>, QueryRejection>,
) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return trouble("customers", unreadable(&error)),
    };
    match found(app.store.reader(), &wanted.search, MATCHES).await {
        Ok(customers) => show(StatusCode::OK, &Matches { customers }),
        Err(error) => trouble("customers", error),
    }
}

/// The first customers by name.
///
/// # Errors
/// If the database returns an error.
pub(super) async fn offered(db: &impl ConnectionTrait) -> Result<Vec<NamedCustomer>, StoreError> {
    found(db, "", OFFERED).await
}

async fn found(
    db: &impl ConnectionTrait,
    text: &str,
    most: u64,
) -> Result<Vec<NamedCustomer>, StoreError> {
    let search = CustomersSearch {
        text: text.to_owned(),
        ..CustomersSearch::default()
    };
    customers::named(db, &search, most).await
}

/// The customer that was meant, as a license would get it.
pub(super) enum Meant {
    /// There is such a customer.
    Known(Customer),
    /// A customer would be added.
    New {
        /// The name.
        name: String,
        /// Names of customers that begin alike.
        similar: Vec<String>,
    },
}

/// Who is meant by an id, a name or a reference.
///
/// # Errors
/// If the database returns an error.
pub(super) async fn meant(db: &impl ConnectionTrait, text: &str) -> Result<Meant, StoreError> {
    // If the text is also the reference of another one, it is refused when the license is issued.
    if let Some(known) = customers::find(db, text).await?.into_iter().next()
        && let Some(known) = customers::find_merged(db, &known.id).await?
    {
        return Ok(Meant::Known(known));
    }
    let beginning: String = text.trim().chars().take(SIMILAR_CHARS).collect();
    let similar = found(db, &beginning, SIMILAR).await?;
    Ok(Meant::New {
        name: text.trim().to_owned(),
        similar: similar.into_iter().map(|it| it.name).collect(),
    })
}
