//! Adds and changes customers: the form, the review, and the result.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Form};
use chrono::{DateTime, SecondsFormat, Utc};
use license_console::page::show;

use super::address;
use crate::app::App;
use crate::audit::Actor;
use crate::console::fields::Fields;
use crate::console::frame::{Done, Frame, trouble};
use crate::http::error::ApiError;
use crate::licensing::customers::{
    CustomerEdit, CustomerError, MAX_CONTACTS, add, checked, edit, look_up,
};
use crate::store::customers::{Contact, Customer};
use crate::store::licenses::{self, Search};

/// Empty rows for further contacts.
const EMPTY_ROWS: usize = 2;

#[derive(Template)]
#[template(path = "customer_edit.html")]
struct EditPage {
    frame: Frame,
    /// The customer as it is stored; `None` for a new one.
    customer: Option<Customer>,
    fields: Fields,
    contacts: Vec<ContactRow>,
    /// Whether others have changed the customer in the meantime.
    is_changed: bool,
    error: Option<String>,
}

/// A row for a contact.
struct ContactRow {
    number: usize,
    name: String,
    email: String,
    phone: String,
}

#[derive(Template)]
#[template(path = "customer_review.html")]
struct Review {
    frame: Frame,
    /// The customer as it is stored; `None` for a new one.
    before: Option<Customer>,
    after: Customer,
    /// How many licenses carry the name.
    licenses: u64,
    fields: Fields,
}

/// The fields of a customer.
fn filled(customer: &Customer) -> Fields {
    let mut fields = Fields::default();
    fields.set("known_at", exact(customer.updated_at));
    fields.set("name", customer.name.as_str());
    fields.set("reference", customer.reference.clone().unwrap_or_default());
    fields.set("notes", customer.notes.as_str());
    for (number, contact) in customer.contacts.iter().enumerate() {
        let Contact { name, email, phone } = contact.clone();
        fields.add(format!("contact_name.{number}"), name);
        fields.add(format!("contact_email.{number}"), email.unwrap_or_default());
        fields.add(format!("contact_phone.{number}"), phone.unwrap_or_default());
    }
    fields
}

/// As the database stores it, so that it can be compared.
fn exact(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn contact_row(fields: &Fields, number: usize) -> ContactRow {
    let field = |name: &str| fields.text(&format!("contact_{name}.{number}")).to_owned();
    ContactRow {
        number,
        name: field("name"),
        email: field("email"),
        phone: field("phone"),
    }
}

impl ContactRow {
    fn is_empty(&self) -> bool {
        self.name.is_empty() && self.email.is_empty() && self.phone.is_empty()
    }
}

/// The rows that are used, and empty ones.
fn contact_rows(fields: &Fields) -> Vec<ContactRow> {
    let rows = (0..MAX_CONTACTS).map(|number| contact_row(fields, number));
    let rows: Vec<_> = rows.collect();
    let used = rows.iter().rposition(|row| !row.is_empty());
    let used = used.map_or(0, |last| last + 1);
    rows.into_iter().take(used + EMPTY_ROWS).collect()
}

/// The values in the form.
fn request(fields: &Fields) -> Result<CustomerEdit, ApiError> {
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let rows = (0..MAX_CONTACTS).map(|number| contact_row(fields, number));
    let contacts = rows.filter(|row| !row.is_empty()).map(|row| Contact {
        name: row.name,
        email: some(row.email),
        phone: some(row.phone),
    });
    let known_at = fields
        .some("known_at")
        .map(|text| text.parse::<DateTime<Utc>>());
    let known_at = known_at.transpose();
    let known_at = known_at.map_err(|_| {
        ApiError::BadRequest("the form has an invalid timestamp; open the form again".to_owned())
    })?;
    Ok(CustomerEdit {
        name: Some(fields.text("name").to_owned()),
        reference: Some(fields.some("reference")),
        contacts: Some(contacts.collect()),
        notes: Some(fields.text("notes").replace("\r\n", "\n")),
        known_at,
    })
}

fn form(
    customer: Option<Customer>,
    fields: Fields,
    is_changed: bool,
    error: Option<&ApiError>,
) -> Response {
    let page = EditPage {
        frame: Frame::new("customers"),
        contacts: contact_rows(&fields),
        customer,
        fields,
        is_changed,
        error: error.map(ApiError::message),
    };
    let status = match is_changed {
        true => StatusCode::CONFLICT,
        false => error.map_or(StatusCode::OK, ApiError::status),
    };
    show(status, &page)
}

pub(in crate::console) async fn new_page() -> Response {
    form(None, Fields::default(), false, None)
}

/// Shows the customer that would be added, or the form again.
pub(in crate::console) async fn ask_new(
    State(app): State<Arc<App>>,
    Form(fields): Form<Fields>,
) -> Response {
    if fields.has("edit") {
        return form(None, fields, false, None);
    }
    let now = app.clock.now();
    let after = request(&fields).and_then(|request| Ok(checked(None, &request, now)?));
    match after {
        Ok(after) => show(
            StatusCode::OK,
            &Review {
                frame: Frame::new("customers"),
                before: None,
                after,
                licenses: 0,
                fields,
            },
        ),
        Err(error) => form(None, fields, false, Some(&error)),
    }
}

pub(in crate::console) async fn add_new(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Form(fields): Form<Fields>,
) -> Response {
    let added = async {
        let request = request(&fields)?;
        Ok::<_, ApiError>(add(&app.store, &request, &app.change(actor)).await?)
    };
    match added.await {
        Ok(customer) => Done::CustomerAdded.redirect(&address(&customer)),
        Err(error) => form(None, fields, false, Some(&error)),
    }
}

pub(in crate::console) async fn page(
    State(app): State<Arc<App>>,
    Path(customer): Path<String>,
) -> Response {
    match look_up(app.store.reader(), &customer).await {
        Ok(customer) => {
            let fields = filled(&customer);
            form(Some(customer), fields, false, None)
        }
        Err(error) => trouble("customers", error),
    }
}

/// Shows what would be changed, or the form again.
pub(in crate::console) async fn ask(
    State(app): State<Arc<App>>,
    Path(customer): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    let before = match look_up(app.store.reader(), &customer).await {
        Ok(customer) => customer,
        Err(error) => return trouble("customers", error),
    };
    if fields.has("edit") {
        return form(Some(before), fields, false, None);
    }
    match review(&app, &before, &fields).await {
        Ok(review) => show(StatusCode::OK, &review),
        Err(Refused::Changed) => again(before, fields),
        Err(Refused::Error(error)) => form(Some(before), fields, false, Some(&error)),
    }
}

async fn review(app: &App, before: &Customer, fields: &Fields) -> Result<Review, Refused> {
    let request = request(fields)?;
    let after = checked(Some(before), &request, app.clock.now())?;
    let search = Search {
        customer_id: Some(before.id.clone()),
        ..Search::default()
    };
    let licenses = licenses::count(app.store.reader(), &search).await;
    Ok(Review {
        frame: Frame::new("customers"),
        before: Some(before.clone()),
        after,
        licenses: licenses.map_err(ApiError::from)?,
        fields: fields.clone(),
    })
}

pub(in crate::console) async fn save(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(customer): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    let saved = async {
        let request = request(&fields)?;
        let change = app.change(actor);
        Ok::<_, Refused>(edit(&app.store, &customer, &request, &change).await?)
    };
    let refused = match saved.await {
        Ok(customer) => return Done::CustomerChanged.redirect(&address(&customer)),
        Err(refused) => refused,
    };
    let before = match look_up(app.store.reader(), &customer).await {
        Ok(customer) => customer,
        Err(error) => return trouble("customers", error),
    };
    match refused {
        Refused::Changed => again(before, fields),
        Refused::Error(error) => form(Some(before), fields, false, Some(&error)),
    }
}

/// Why a customer is not changed.
enum Refused {
    /// Others have changed it in the meantime.
    Changed,
    /// Anything else.
    Error(ApiError),
}

impl From<CustomerError> for Refused {
    fn from(error: CustomerError) -> Self {
        match error {
            CustomerError::Changed => Self::Changed,
            error => Self::Error(error.into()),
        }
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

/// Shows the form again, with what was entered and what others have changed.
fn again(customer: Customer, mut fields: Fields) -> Response {
    fields.set("known_at", exact(customer.updated_at));
    form(Some(customer), fields, true, None)
}
