//! Customers: who buys licenses.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use license_service::unattended::finish_even_if_disconnected;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::paging::{PageSize, page_start};
use crate::app::App;
use crate::audit::Actor;
use crate::http::answered_errors::{AdminErrors, BodyErrors, CustomerErrors, QueryErrors};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::given::{Body, Params, stated};
use crate::licensing;
use crate::licensing::customers::{CustomerEdit, Merged, look_up};
use crate::store::customers::{
    Contact, Customer, CustomersSearch, CustomersSort, count, list as found,
};
use crate::store::licenses::count_of_customers;
use crate::store::page::SortOrder;

/// Which customers, and in what order.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct CustomersParams {
    /// Part of the name or the reference.
    #[serde(default)]
    search: String,
    /// `true` lists the records that were merged into others, instead of the current ones.
    #[serde(default)]
    merged: bool,
    /// Default is `name`.
    #[serde(default)]
    #[param(inline)]
    sort: CustomersSort,
    /// Default is `asc` for `name`, and `desc` for `createdAt` and `updatedAt`.
    #[param(inline)]
    order: Option<SortOrder>,
    /// The `nextCursor` of the previous page, requested with the same `sort` and `order`.
    cursor: Option<String>,
    /// Maximum number of rows on the page.
    #[serde(default)]
    #[param(inline)]
    limit: PageSize,
}

/// One page of the matching customers.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct CustomersPage {
    customers: Vec<ListedCustomer>,
    /// The number of matching customers.
    total: u64,
    /// The `cursor` of the next page; `null` on the last one.
    next_cursor: Option<String>,
}

/// A customer, and how many licenses it has.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ListedCustomer {
    #[serde(flatten)]
    customer: Customer,
    /// The number of its licenses of any status.
    licenses: u64,
}

async fn listed(app: &App, customers: Vec<Customer>) -> Result<Vec<ListedCustomer>, ApiError> {
    let ids = customers.iter().map(|it| it.id.clone()).collect();
    let licenses = count_of_customers(app.store.reader(), ids).await?;
    let listed = customers.into_iter().map(|customer| ListedCustomer {
        licenses: licenses.get(&customer.id).copied().unwrap_or_default(),
        customer,
    });
    Ok(listed.collect())
}

/// List customers.
#[utoipa::path(
    get, path = "/customers", operation_id = "list_customers", tag = "customers",
    params(CustomersParams),
    responses(
        (status = 200, description = "A page of customers", body = CustomersPage),
        AdminErrors, QueryErrors,
    )
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<CustomersParams>,
) -> Result<Json<CustomersPage>, ApiError> {
    let search = CustomersSearch {
        text: params.search,
        merged: params.merged,
        sort: params.sort,
        order: params.order,
    };
    let size = u64::from(params.limit.get());
    let start = page_start(params.cursor.as_deref(), |cursor| search.has(cursor))?;
    let reading = async {
        let db = app.store.reader();
        let total = count(db, &search).await?;
        let page = found(db, &search, &start, size).await?;
        Ok::<_, ApiError>(CustomersPage {
            next_cursor: page.next_cursor(|customer| search.cursor(customer)),
            customers: listed(&app, page.rows).await?,
            total,
        })
    };
    app.store.in_share(reading).await.map(Json)
}

/// Show a customer, by its id, its name or its reference.
#[utoipa::path(
    get, path = "/customers/{customer}", operation_id = "show_customer", tag = "customers",
    params(("customer" = String, Path)),
    responses(
        (status = 200, description = "The customer", body = ListedCustomer),
        AdminErrors, CustomerErrors,
    )
)]
pub(in crate::http) async fn show(
    State(app): State<Arc<App>>,
    Path(customer): Path<String>,
) -> Result<Json<ListedCustomer>, ApiError> {
    let customer = look_up(app.store.reader(), &customer).await?;
    one(&app, customer).await.map(Json)
}

async fn one(app: &App, customer: Customer) -> Result<ListedCustomer, ApiError> {
    let mut listed = listed(app, vec![customer]).await?;
    listed.pop().ok_or(ApiError::Internal)
}

/// The customer to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CustomerBody {
    /// The name that licenses carry.
    name: String,
    /// The vendor's own reference.
    reference: Option<String>,
    /// The contacts.
    #[serde(default)]
    contacts: Vec<Contact>,
    /// Free-text notes.
    #[serde(default)]
    notes: String,
}

/// Add a customer.
#[utoipa::path(
    post, path = "/customers", operation_id = "add_customer", tag = "customers",
    request_body = CustomerBody,
    responses(
        (status = 201, description = "The new customer", body = Customer),
        AdminErrors, BodyErrors,
        (status = 409, body = ErrorBody,
            description = "Another customer already has this name or reference"),
    )
)]
pub(in crate::http) async fn add(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Body(body): Body<CustomerBody>,
) -> Result<(StatusCode, Json<Customer>), ApiError> {
    let request = CustomerEdit {
        name: Some(body.name),
        reference: Some(body.reference),
        contacts: Some(body.contacts),
        notes: Some(body.notes),
        known_at: None,
    };
    let added = licensing::customers::add(&app.store, &request, &app.change(actor)).await?;
    Ok((StatusCode::CREATED, Json(added)))
}

/// What to change about a customer. Absent fields are not changed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct EditBody {
    /// The name; licenses show a new name from their next lease on.
    name: Option<String>,
    /// The vendor's own reference; `null` removes it.
    #[serde(default, deserialize_with = "stated")]
    #[schema(value_type = Option<String>)]
    reference: Option<Option<String>>,
    /// All contacts.
    contacts: Option<Vec<Contact>>,
    /// Free-text notes.
    notes: Option<String>,
}

/// Edit a customer. The next lease of each license carries a new name.
#[utoipa::path(
    patch, path = "/customers/{customer}", operation_id = "edit_customer", tag = "customers",
    request_body = EditBody, params(("customer" = String, Path)),
    responses(
        (status = 200, description = "The customer", body = Customer),
        AdminErrors, BodyErrors, CustomerErrors,
        (status = 409, body = ErrorBody,
            description = "Another customer already has this name or reference"),
    )
)]
pub(in crate::http) async fn edit(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(customer): Path<String>,
    Body(body): Body<EditBody>,
) -> Result<Json<Customer>, ApiError> {
    let request = CustomerEdit {
        name: body.name,
        reference: body.reference,
        contacts: body.contacts,
        notes: body.notes,
        known_at: None,
    };
    let change = app.change(actor);
    let edited = licensing::customers::edit(&app.store, &customer, &request, &change);
    Ok(Json(edited.await?))
}

/// The customer to merge into.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct MergeBody {
    /// The id, name or reference of the customer that remains.
    into: String,
    /// Only show what would change.
    #[serde(default)]
    dry_run: bool,
}

/// Merge a customer into another one. The record of the merged customer stays, and points to the
/// other. If the server is interrupted, repeating the call completes the merge.
#[utoipa::path(
    post, path = "/customers/{customer}/merge", operation_id = "merge_customer", tag = "customers",
    request_body = MergeBody, params(("customer" = String, Path)),
    responses(
        (status = 200, description = "The result of the merge, or its preview", body = Merged),
        AdminErrors, BodyErrors, CustomerErrors,
        (status = 409, body = ErrorBody,
            description = "One of the two was already merged into another customer"),
    )
)]
pub(in crate::http) async fn merge(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(customer): Path<String>,
    Body(body): Body<MergeBody>,
) -> Result<Json<Merged>, ApiError> {
    let merging = finish_even_if_disconnected(async move {
        let MergeBody { into, dry_run } = body;
        let author = app.author(actor);
        licensing::customers::merge(&app.store, &customer, &into, dry_run, &author).await
    });
    Ok(Json(merging.await??))
}
