//! Issues an add-on key: the form, the review, and the page that shows the key.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Form};
use license_console::page::show;
use license_core::add_on::AddOnGrant;
use license_core::catalogue::{CatalogueEntry, Kind};
use license_core::issued_code::CodeKind;
use serde::Deserialize;

use super::granted;
use crate::app::App;
use crate::audit::Actor;
use crate::console::additions::{AdditionRow, addition_rows, additions};
use crate::console::fields::{self, Fields, never_or_day};
use crate::console::filters::unreadable;
use crate::console::frame::{Frame, trouble};
use crate::console::new_code::{CODE, reviewed_code, show_new_code};
use crate::console::plan_choices::PlanChoices;
use crate::http::error::ApiError;
use crate::licensing::add_ons::{
    AddOnError, AddOnRequest, issue_add_on_with, new_add_on_key, prepare_add_on,
};
use crate::licensing::amend::{MAX_ORDER_CHARS, MAX_REASON_CHARS};
use crate::licensing::day_words::last_day;
use crate::licensing::item_words::ItemNames;

/// Rows for what the key grants.
const ROWS: usize = 5;

#[derive(Template)]
#[template(path = "add_on_new.html")]
struct FormPage {
    frame: Frame,
    fields: Fields,
    plans: PlanChoices,
    rows: Vec<AdditionRow>,
    features: Vec<CatalogueEntry>,
    counts: Vec<CatalogueEntry>,
    max_order: usize,
    max_note: usize,
    error: Option<String>,
}

/// Shows what would be issued.
#[derive(Template)]
#[template(path = "add_on_review.html")]
struct ReviewPage {
    frame: Frame,
    /// All fields of the form, which are sent again, and the key.
    fields: Fields,
    plan: Option<String>,
    granted: Vec<String>,
    /// Empty if it has no end.
    redeem_by: String,
    order: Option<String>,
    note: Option<String>,
}

/// The plan, if a page that leads to the form knows it already.
#[derive(Default, Deserialize)]
pub(in crate::console) struct NewQuery {
    #[serde(default)]
    plan: String,
}

pub(in crate::console) async fn page(
    State(app): State<Arc<App>>,
    wanted: Result<Query<NewQuery>, QueryRejection>,
) -> Response {
    match wanted {
        Ok(Query(wanted)) => {
            let mut fields = Fields::default();
            fields.set("plan", wanted.plan);
            form(&app, fields, None).await
        }
        Err(error) => trouble("add-ons", unreadable(&error)),
    }
}

async fn form(app: &App, fields: Fields, error: Option<&ApiError>) -> Response {
    let status = error.map_or(StatusCode::OK, ApiError::status);
    match load(app, fields, error.map(ApiError::message)).await {
        Ok(page) => show(status, &page),
        Err(error) => trouble("add-ons", error),
    }
}

async fn load(app: &App, fields: Fields, error: Option<String>) -> Result<FormPage, ApiError> {
    let db = app.store.reader();
    let items = ItemNames::read(db).await?;
    let of_kind = |kind| {
        let entries = items.entries().filter(move |it| it.kind == kind);
        entries.cloned().collect()
    };
    Ok(FormPage {
        frame: Frame::new("add-ons"),
        plans: PlanChoices::read(db, &fields, |plan| plan.add_on).await?,
        rows: addition_rows(&fields, ROWS).collect(),
        features: of_kind(Kind::Feature),
        counts: of_kind(Kind::Count),
        max_order: MAX_ORDER_CHARS,
        max_note: MAX_REASON_CHARS,
        fields,
        error,
    })
}

fn request(fields: &Fields) -> Result<AddOnRequest, ApiError> {
    let plan = fields.some("plan").map(|text| fields::plan(&text));
    let grants = additions(fields, ROWS)?.into_iter().map(|it| AddOnGrant {
        key: it.key,
        quantity: it.quantity,
        from: it.period.from,
        until: it.period.until,
        duration: None,
    });
    Ok(AddOnRequest {
        plan: plan.transpose()?,
        grants: grants.collect(),
        redeem_by: never_or_day(fields.text("end"), fields.text("day"))?,
        order: fields.some("order"),
        note: fields.some("note"),
    })
}

/// Shows what would be issued, or the form again.
pub(in crate::console) async fn ask(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Form(fields): Form<Fields>,
) -> Response {
    let fields = fields.without(&[CODE]);
    if fields.has("edit") {
        return form(&app, fields.without(&["edit"]), None).await;
    }
    match review(&app, actor, &fields).await {
        Ok(page) => show(StatusCode::OK, &page),
        Err(error) => form(&app, fields, Some(&error)).await,
    }
}

async fn review(app: &App, actor: Actor, fields: &Fields) -> Result<ReviewPage, ApiError> {
    let request = request(fields)?;
    let change = app.permitted_change(actor)?;
    let prepared = prepare_add_on(&app.store, &request, &change).await;
    let prepared = prepared.map_err(refused)?;
    let items = ItemNames::read(app.store.reader()).await?;
    let mut fields = fields.clone();
    if let Some(version) = &prepared.plan {
        // What is confirmed is this version.
        fields.set("plan", version);
    }
    let key = new_add_on_key().map_err(AddOnError::from)?;
    fields.set(CODE, key.as_str());
    Ok(ReviewPage {
        frame: Frame::new("add-ons"),
        fields,
        plan: prepared.plan,
        granted: granted(&prepared.add_on.grants, &items),
        redeem_by: prepared.add_on.redeem_by.map(last_day).unwrap_or_default(),
        order: prepared.order,
        note: prepared.note,
    })
}

/// The error in the words of the form.
fn refused(error: AddOnError) -> ApiError {
    match error {
        AddOnError::Contents => {
            ApiError::BadRequest("choose either a plan or entitlements in the rows".to_owned())
        }
        error => error.into(),
    }
}

/// Issues the key, and shows it.
pub(in crate::console) async fn confirm(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Form(fields): Form<Fields>,
) -> Response {
    let issued = async {
        let key = reviewed_code(CodeKind::AddOn, &fields)?;
        let request = request(&fields)?;
        let change = app.permitted_change(actor)?;
        let issued = issue_add_on_with(&app.store, &key, &request, &change).await;
        issued.map_err(refused)?;
        Ok::<_, ApiError>(key)
    };
    match issued.await {
        Ok(key) => show_new_code("add-ons", &key),
        Err(error) => form(&app, fields.without(&[CODE]), Some(&error)).await,
    }
}
