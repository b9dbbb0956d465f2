//! What an amendment would change, when, and at which installations.

use askama::Template;
use chrono::{DateTime, Utc};

use crate::app::App;
use crate::console::fields::Fields;
use crate::console::frame::Frame;
use crate::console::impact::{Impact, later};
use crate::console::known_customers::{Meant, meant};
use crate::http::error::ApiError;
use crate::licensing::amend::{AmendRequest, Amended};
use crate::licensing::amendment_words::{History, Told};
use crate::licensing::current::current;
use crate::licensing::item_words::ItemNames;
use crate::store::StoreError;
use crate::store::licenses::License;

#[derive(Template)]
#[template(path = "amend_preview.html")]
pub(super) struct Preview {
    frame: Frame,
    license: License,
    /// All fields of the form, which are sent again.
    fields: Fields,
    number: u32,
    /// Whether it undoes another amendment.
    is_undo: bool,
    statements: Vec<String>,
    /// When it takes effect; empty for immediately.
    effective: String,
    reason: Option<String>,
    order: Option<String>,
    /// The customer that the license would get.
    customer: Option<Meant>,
    impact: Impact,
}

/// The preview of an amendment that the fields ask for.
pub(super) async fn preview(
    app: &App,
    license: &License,
    amended: Amended,
    request: &AmendRequest,
    fields: Fields,
    now: DateTime<Utc>,
) -> Result<Preview, ApiError> {
    let db = app.store.reader();
    let license = current(db, license.clone(), now).await?;
    let items = ItemNames::read(db).await?;
    let statements = statements(app, &amended, &items).await?;
    let customer = match &request.customer {
        Some(text) => Some(meant(db, text).await?),
        None => None,
    };
    Ok(Preview {
        frame: Frame::new("licenses"),
        number: amended.amendment.number,
        is_undo: amended.amendment.undoes.is_some(),
        statements,
        effective: later(amended.amendment.effective_at, now),
        reason: amended.amendment.reason.clone(),
        order: amended.amendment.order.clone(),
        customer,
        impact: Impact::of(amended, &items, now),
        license,
        fields,
    })
}

/// What an amendment does that is not stored yet.
pub(in crate::console) async fn statements(
    app: &App,
    amended: &Amended,
    items: &ItemNames,
) -> Result<Vec<String>, StoreError> {
    let all = amended.all.clone();
    let history = History::new(all, amended.customers.clone(), items.clone());
    let told = |told: Told<'_>| match told.amendments().last() {
        Some(newest) => told.statements(&[newest]).concat(),
        None => Vec::new(),
    };
    history.told(&app.store, told).await
}
