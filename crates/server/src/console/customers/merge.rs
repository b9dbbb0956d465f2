//! Merges a customer into another one: the choice, the preview, and the result.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Form};
use license_console::page::show;
use license_service::unattended::finish_even_if_disconnected;

use super::address;
use crate::app::App;
use crate::audit::Actor;
use crate::console::fields::Fields;
use crate::console::frame::{Done, Frame, trouble};
use crate::console::known_customers::offered;
use crate::http::error::ApiError;
use crate::licensing::customers::{Merged, look_up, merge};
use crate::store::customers::{Customer, NamedCustomer};

/// Maximum number of licenses in the list of those that are not amended.
const LISTED: usize = 50;

#[derive(Template)]
#[template(path = "customer_merge.html")]
struct MergePage {
    frame: Frame,
    customer: Customer,
    customers: Vec<NamedCustomer>,
    into: String,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "customer_merge_review.html")]
struct Review {
    frame: Frame,
    customer: Customer,
    merged: Merged,
    /// How many licenses that are not amended are not listed.
    others: usize,
}

pub(in crate::console) async fn page(
    State(app): State<Arc<App>>,
    Path(customer): Path<String>,
) -> Response {
    form(&app, &customer, "", None).await
}

async fn form(app: &App, customer: &str, into: &str, error: Option<&ApiError>) -> Response {
    let db = app.store.reader();
    let customer = match look_up(db, customer).await {
        Ok(customer) => customer,
        Err(error) => return trouble("customers", error),
    };
    let customers = match offered(db).await {
        Ok(customers) => customers,
        Err(error) => return trouble("customers", error),
    };
    let page = MergePage {
        frame: Frame::new("customers"),
        customer,
        customers,
        into: into.to_owned(),
        error: error.map(ApiError::message),
    };
    show(error.map_or(StatusCode::OK, ApiError::status), &page)
}

/// Shows what would be merged, or the form again.
pub(in crate::console) async fn ask(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(customer): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    let into = fields.text("customer");
    if fields.has("edit") {
        return form(&app, &customer, into, None).await;
    }
    match review(&app, actor, &customer, into).await {
        Ok(review) => show(StatusCode::OK, &review),
        Err(error) => form(&app, &customer, into, Some(&error)).await,
    }
}

async fn review(app: &App, actor: Actor, from: &str, into: &str) -> Result<Review, ApiError> {
    if into.is_empty() {
        let message = "enter the customer that remains".to_owned();
        return Err(ApiError::BadRequest(message));
    }
    let mut merged = merge(&app.store, from, into, true, &app.author(actor)).await?;
    let others = merged.not_amended.len().saturating_sub(LISTED);
    merged.not_amended.truncate(LISTED);
    Ok(Review {
        frame: Frame::new("customers"),
        customer: look_up(app.store.reader(), from).await?,
        merged,
        others,
    })
}

pub(in crate::console) async fn confirm(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(customer): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    let into = fields.text("customer").to_owned();
    match carry_out(app.clone(), actor, customer.clone(), into.clone()).await {
        Ok(left) => Done::CustomerMerged.redirect(&address(&left)),
        Err(error) => form(&app, &customer, &into, Some(&error)).await,
    }
}

/// Merges all licenses, even if the browser does not wait.
async fn carry_out(
    app: Arc<App>,
    actor: Actor,
    from: String,
    into: String,
) -> Result<Customer, ApiError> {
    let merging = finish_even_if_disconnected(async move {
        merge(&app.store, &from, &into, false, &app.author(actor)).await
    });
    Ok(merging.await??.customer)
}
