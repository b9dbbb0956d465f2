//! The trial codes: list, create, withdraw.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Form};
use chrono::{DateTime, Utc};
use license_console::moment::Moment;
use license_console::number::grouped;
use license_console::page::show;
use license_core::issued_code::CodeKind;
use license_core::plan::Plan;
use license_core::trial::{MAX_STARTS, TrialRefusal, check_plan};
use license_service::cursor::from_text;
use serde::Deserialize;

use super::fields::{self, Fields, never_or_day};
use super::filters::{unknown, unreadable};
use super::frame::{Confirmation, Done, Fact, Frame, Said, trouble};
use super::new_code::{CODE, reviewed_code, show_new_code};
use super::plan_choices::PlanChoices;
use crate::app::App;
use crate::audit::Actor;
use crate::http::error::ApiError;
use crate::licensing::amend::MAX_REASON_CHARS;
use crate::licensing::day_words::last_day;
use crate::licensing::trial_codes::{
    TrialCodeError, TrialCodeRequest, add_trial_code_with, look_up_trial_code, new_trial_code,
    prepare_trial_code, withdraw_trial_code,
};
use crate::store::page::Storable;
use crate::store::trial_codes::{StoredTrialCode, TrialCodesCursor, count, newest};

/// Trial codes on a page.
const ROWS: u64 = 50;
/// The fields of the form.
const FIELDS: [&str; 6] = ["plan", "max", "max_a_day", "end", "day", "note"];

#[derive(Template)]
#[template(path = "trial_codes.html")]
struct TrialCodesPage {
    frame: Frame,
    rows: Vec<Row>,
    total: String,
    /// Whether this is not the first page.
    is_older: bool,
    older: Option<String>,
}

struct Row {
    id: String,
    masked: String,
    plan: String,
    /// `3 of 200`.
    started: String,
    max_a_day: u32,
    /// Empty if it has no end.
    ends: String,
    note: Option<String>,
    created: Moment,
    created_by: String,
    /// Why it starts no trial now.
    refusal: Option<TrialRefusal>,
    is_withdrawn: bool,
}

#[derive(Default, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    after: String,
}

impl ListQuery {
    fn cursor(&self) -> Result<Option<TrialCodesCursor>, ApiError> {
        match self.after.as_str() {
            "" => Ok(None),
            text => match from_text(text) {
                Ok(cursor) => Ok(Some(cursor)),
                Err(_) => Err(unknown("page", text, "the cursor of an older page")),
            },
        }
    }
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    wanted: Result<Query<ListQuery>, QueryRejection>,
    said: Result<Query<Said>, QueryRejection>,
) -> Response {
    let done = said.map(|Query(said)| said).unwrap_or_default().done;
    let cursor = match wanted {
        Ok(Query(wanted)) => wanted.cursor(),
        Err(error) => Err(unreadable(&error)),
    };
    let page = match cursor {
        Ok(cursor) => load(&app, cursor.as_ref()).await,
        Err(error) => Err(error),
    };
    match page {
        Ok(mut page) => {
            page.frame = Frame::new("trial-codes").after(done);
            show(StatusCode::OK, &page)
        }
        Err(error) => trouble("trial-codes", error),
    }
}

async fn load(app: &App, after: Option<&TrialCodesCursor>) -> Result<TrialCodesPage, ApiError> {
    let (db, now) = (app.store.reader(), app.clock.now());
    let found = newest(db, after, ROWS).await?;
    let cursor = |last: &StoredTrialCode| TrialCodesCursor {
        created_at: Storable::of_row(last.created_at),
        id: last.id.clone(),
    };
    let older = found.next_cursor(cursor);
    Ok(TrialCodesPage {
        frame: Frame::new("trial-codes"),
        rows: found.rows.into_iter().map(|code| row(code, now)).collect(),
        total: grouped(count(db).await?),
        is_older: after.is_some(),
        older,
    })
}

fn row(code: StoredTrialCode, now: DateTime<Utc>) -> Row {
    let allowance = code.allowance;
    Row {
        started: started(&code),
        id: code.id,
        masked: code.masked,
        plan: code.plan,
        max_a_day: allowance.max_a_day,
        ends: allowance.ends_at.map(last_day).unwrap_or_default(),
        note: code.note,
        created: Moment::of(code.created_at),
        created_by: code.created_by,
        refusal: allowance.start(now).err(),
        is_withdrawn: allowance.is_withdrawn,
    }
}

/// How many trials it has started, of how many.
fn started(code: &StoredTrialCode) -> String {
    let max = code.allowance.max;
    let max = max.map_or("unlimited".to_owned(), |max| max.to_string());
    format!("{} of {max}", code.allowance.started)
}

#[derive(Template)]
#[template(path = "trial_code_new.html")]
struct NewPage {
    frame: Frame,
    fields: Fields,
    plans: PlanChoices,
    max_starts: u32,
    max_note: usize,
    error: Option<String>,
}

pub(super) async fn new_page(State(app): State<Arc<App>>) -> Response {
    form(&app, Fields::default(), None).await
}

async fn form(app: &App, fields: Fields, error: Option<&ApiError>) -> Response {
    let is_offered = |plan: &Plan| check_plan(plan).is_ok();
    let plans = PlanChoices::read(app.store.reader(), &fields, is_offered).await;
    let plans = match plans {
        Ok(plans) => plans,
        Err(error) => return trouble("trial-codes", error),
    };
    let page = NewPage {
        frame: Frame::new("trial-codes"),
        plans,
        fields,
        max_starts: MAX_STARTS,
        max_note: MAX_REASON_CHARS,
        error: error.map(ApiError::message),
    };
    show(error.map_or(StatusCode::OK, ApiError::status), &page)
}

fn request(fields: &Fields) -> Result<TrialCodeRequest, ApiError> {
    let missing = |what: &str| ApiError::BadRequest(what.to_owned());
    let plan = fields.some("plan");
    let max = fields.some("max");
    let max_a_day = fields.some("max_a_day");
    let number = |label: &str, text: String| fields::number(label, &text);
    Ok(TrialCodeRequest {
        plan: fields::plan(&plan.ok_or_else(|| missing("choose a plan"))?)?,
        max: number(
            "maximum number of trials",
            max.ok_or_else(|| missing("enter the maximum number of trials"))?,
        )?,
        max_a_day: max_a_day
            .map(|text| number("daily maximum", text))
            .transpose()?,
        ends_at: never_or_day(fields.text("end"), fields.text("day"))?,
        note: fields.some("note"),
    })
}

/// Shows the code that would be created, or the form again.
pub(super) async fn ask(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Form(fields): Form<Fields>,
) -> Response {
    let fields = fields.without(&[CODE]);
    if fields.has("edit") {
        return form(&app, fields, None).await;
    }
    let reviewed = async {
        let request = request(&fields)?;
        let change = app.change(actor);
        let prepared = prepare_trial_code(&app.store, &request, &change).await?;
        let code = new_trial_code().map_err(TrialCodeError::from)?;
        Ok::<_, ApiError>(review(prepared, code.as_str(), &fields))
    };
    match reviewed.await {
        Ok(review) => review.ask("trial-codes"),
        Err(error) => form(&app, fields, Some(&error)).await,
    }
}

fn review(prepared: StoredTrialCode, code: &str, fields: &Fields) -> Confirmation {
    let allowance = prepared.allowance;
    let ends = allowance.ends_at.map(last_day);
    let mut hidden: Vec<(&'static str, String)> = FIELDS
        .map(|name| match name {
            // What is confirmed is this version.
            "plan" => (name, prepared.plan.clone()),
            name => (name, fields.raw(name).to_owned()),
        })
        .into();
    hidden.push((CODE, code.to_owned()));
    Confirmation {
        what: "add-trial-code",
        action: "/console/trial-codes/add".to_owned(),
        edit: Some("/console/trial-codes/new"),
        facts: vec![
            Fact::new("plan", prepared.plan),
            Fact::new("max", allowance.max.unwrap_or_default().to_string()),
            Fact::new("max-a-day", allowance.max_a_day.to_string()),
            Fact::new("ends", ends.unwrap_or("never".to_owned())),
            Fact::new("note", prepared.note.unwrap_or_default()),
        ],
        hidden,
        ..Confirmation::default()
    }
}

/// Creates the code, and shows it.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Form(fields): Form<Fields>,
) -> Response {
    let created = async {
        let code = reviewed_code(CodeKind::Trial, &fields)?;
        let request = request(&fields)?;
        add_trial_code_with(&app.store, &code, &request, &app.change(actor)).await?;
        Ok::<_, ApiError>(code)
    };
    match created.await {
        Ok(code) => show_new_code("trial-codes", &code),
        Err(error) => form(&app, fields.without(&[CODE]), Some(&error)).await,
    }
}

pub(super) async fn ask_withdraw(
    State(app): State<Arc<App>>,
    Path(code): Path<String>,
) -> Response {
    match look_up_trial_code(app.store.reader(), &code).await {
        Ok(code) if code.allowance.is_withdrawn => {
            let message = "the trial code has already been withdrawn".to_owned();
            trouble("trial-codes", ApiError::Conflict(message))
        }
        Ok(code) => to_withdraw(code).ask("trial-codes"),
        Err(error) => trouble("trial-codes", error),
    }
}

fn to_withdraw(code: StoredTrialCode) -> Confirmation {
    Confirmation {
        what: "withdraw-trial-code",
        action: format!("/console/trial-codes/{}/withdraw", code.id),
        back: "/console/trial-codes".to_owned(),
        facts: vec![
            Fact::new("started", started(&code)),
            Fact::new("trial-code", code.masked),
            Fact::new("plan", code.plan),
            Fact::new("note", code.note.unwrap_or_default()),
        ],
        is_destructive: true,
        ..Confirmation::default()
    }
}

pub(super) async fn withdraw(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(code): Path<String>,
) -> Response {
    match withdraw_trial_code(&app.store, &code, &app.change(actor)).await {
        Ok(_) => Done::TrialCodeWithdrawn.redirect("/console/trial-codes"),
        Err(error) => trouble("trial-codes", error),
    }
}
