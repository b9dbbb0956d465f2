//! Refunds an add-on key: what that changes, and the result.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Form};
use license_console::page::show;

use super::granted;
use crate::app::App;
use crate::audit::Actor;
use crate::console::amend::statements;
use crate::console::fields::{self, Fields};
use crate::console::frame::{Done, Frame, trouble};
use crate::console::impact::Impact;
use crate::http::error::ApiError;
use crate::licensing::amend::MAX_REASON_CHARS;
use crate::licensing::item_words::ItemNames;
use crate::licensing::refund::{refund_add_on, refund_add_on_as_previewed};
use crate::store::licenses::{self, License};

/// What a refund would change.
#[derive(Template)]
#[template(path = "add_on_refund.html")]
struct RefundPage {
    frame: Frame,
    id: i64,
    masked: String,
    granted: Vec<String>,
    order: Option<String>,
    note: Option<String>,
    /// The license that has redeemed it.
    license: Option<License>,
    /// What is undone, if the license still has it.
    undone: Option<Undone>,
    reason: String,
    max_reason: usize,
    error: Option<String>,
}

/// The amendment that undoes what the key granted.
struct Undone {
    number: u32,
    statements: Vec<String>,
    impact: Impact,
}

pub(in crate::console) async fn ask(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(add_on): Path<String>,
) -> Response {
    match preview(&app, actor, &add_on).await {
        Ok(page) => show(StatusCode::OK, &page),
        Err(error) => trouble("add-ons", error),
    }
}

async fn preview(app: &App, actor: Actor, add_on: &str) -> Result<RefundPage, ApiError> {
    let change = app.permitted_change(actor)?;
    let refunded = refund_add_on(&app.store, add_on, None, &change, false).await?;
    let db = app.store.reader();
    let items = ItemNames::read(db).await?;
    let stored = refunded.add_on;
    let license = match &stored.add_on.redeemed {
        Some(redeemed) => licenses::find_by_id(db, &redeemed.license).await?,
        None => None,
    };
    let undone = match refunded.amended {
        Some(amended) => {
            let statements = statements(app, &amended, &items).await?;
            Some(Undone {
                number: amended.amendment.number,
                statements,
                impact: Impact::of(amended, &items, change.at),
            })
        }
        None => None,
    };
    Ok(RefundPage {
        frame: Frame::new("add-ons"),
        id: stored.id,
        masked: stored.masked,
        granted: granted(&stored.add_on.grants, &items),
        order: stored.order,
        note: stored.note,
        license,
        undone,
        reason: String::new(),
        max_reason: MAX_REASON_CHARS,
        error: None,
    })
}

/// Refunds the key as the preview said, or shows the preview again.
pub(in crate::console) async fn confirm(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(add_on): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    let Err(error) = refund(&app, actor.clone(), &add_on, &fields).await else {
        return Done::AddOnRefunded.redirect("/console/add-ons");
    };
    match preview(&app, actor, &add_on).await {
        Ok(page) => {
            let page = RefundPage {
                reason: fields.raw("reason").to_owned(),
                error: Some(error.message()),
                ..page
            };
            show(error.status(), &page)
        }
        // It cannot be refunded any more.
        Err(_) => trouble("add-ons", error),
    }
}

async fn refund(app: &App, actor: Actor, add_on: &str, fields: &Fields) -> Result<(), ApiError> {
    let number = fields.some("amendment");
    let number = number.map(|text| fields::number("amendment number", &text));
    let (number, reason) = (number.transpose()?, fields.some("reason"));
    let change = app.permitted_change(actor)?;
    let store = &app.store;
    refund_add_on_as_previewed(store, add_on, reason.as_deref(), &change, number).await?;
    Ok(())
}
