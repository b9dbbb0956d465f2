//! Publishes plans and entries of the catalogue: the form with a plan file, the review, and the
//! result.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::{Extension, Form};
use license_console::page::show;
use license_core::plan::check_name;

use super::entries_on_page;
use crate::app::App;
use crate::audit::Actor;
use crate::console::fields::Fields;
use crate::console::filters::{PageQuery, wanted_page};
use crate::console::frame::{Done, Frame, trouble};
use crate::http::error::ApiError;
use crate::licensing::applied_plans::Applied;
use crate::licensing::known_plans::KnownPlans;
use crate::licensing::plan_file::PlanFile;
use crate::licensing::plan_words::{Difference, differences};
use crate::licensing::plans::{PublishError, apply_over, plan_versions};

/// The form for a new plan.
const NEW_PLAN: &str = include_str!("../../../templates/new_plan.toml");
/// The form for new entries of the catalogue.
const NEW_ENTRY: &str = include_str!("../../../templates/new_entry.toml");

/// The page on which the form was opened.
enum Origin {
    /// The page of this plan.
    Plan(String),
    /// The list of plans.
    Plans,
    /// The catalogue.
    Catalogue,
}

impl Origin {
    fn of(fields: &Fields) -> Self {
        match fields.text("plan") {
            "" if fields.has("catalogue") => Self::Catalogue,
            name if check_name(name).is_ok() => Self::Plan(name.to_owned()),
            _ => Self::Plans,
        }
    }

    fn address(&self) -> String {
        match self {
            Self::Plan(name) => format!("/console/plans/{name}"),
            Self::Plans => "/console/plans".to_owned(),
            Self::Catalogue => "/console/catalogue".to_owned(),
        }
    }
}

#[derive(Template)]
#[template(path = "plan_edit.html")]
struct EditPage {
    frame: Frame,
    origin: Origin,
    /// The file.
    text: String,
    /// The page on which the form was opened, and what is known of what the file replaces.
    kept: Fields,
    /// What others have changed in the meantime.
    others: Vec<Difference>,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "plan_review.html")]
struct ReviewPage {
    frame: Frame,
    fields: Fields,
    changes: Vec<Difference>,
}

/// Why nothing is published.
enum Refused {
    /// Others have changed what the file would replace.
    Changed(PlanFile, ApiError),
    /// Anything else.
    Error(ApiError),
}

impl<E: Into<ApiError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// The fields of a form that is opened with this text.
fn opened(text: &str, known: &KnownPlans) -> Fields {
    let mut fields = Fields::default();
    fields.set("text", text);
    set_known(&mut fields, known);
    fields
}

fn set_known(fields: &mut Fields, known: &KnownPlans) {
    fields.set("known", serde_json::json!(known).to_string());
}

fn form(fields: Fields, others: Vec<Difference>, error: Option<&ApiError>) -> Response {
    let status = match others.is_empty() {
        true => error.map_or(StatusCode::OK, ApiError::status),
        false => StatusCode::CONFLICT,
    };
    let page = EditPage {
        frame: Frame::new("plans"),
        origin: Origin::of(&fields),
        text: fields.raw("text").to_owned(),
        kept: fields.without(&["text"]),
        others,
        error: error.map(ApiError::message),
    };
    show(status, &page)
}

/// The form for the newest version of a plan.
pub(in crate::console) async fn plan(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Response {
    let opened = async {
        let db = app.store.reader();
        let versions = plan_versions(db, &name).await?;
        let newest = versions.first();
        let file = newest.map(PlanFile::of_plan).unwrap_or_default();
        let known = newest.map(KnownPlans::of_plan).unwrap_or_default();
        Ok::<_, ApiError>(opened(&file.to_string(), &known))
    };
    match opened.await {
        Ok(mut fields) => {
            fields.set("plan", name);
            form(fields, Vec::new(), None)
        }
        Err(error) => trouble("plans", error),
    }
}

/// The form for a new plan.
pub(in crate::console) async fn new_plan() -> Response {
    form(opened(NEW_PLAN, &KnownPlans::default()), Vec::new(), None)
}

/// The form for the entries on a page of the catalogue.
pub(in crate::console) async fn entries(
    State(app): State<Arc<App>>,
    wanted: Result<Query<PageQuery>, QueryRejection>,
) -> Response {
    let opened = async {
        let (catalogue, _) = entries_on_page(&app, wanted_page(wanted)?).await?;
        let known = KnownPlans::of_entries(&catalogue);
        let file = PlanFile {
            catalogue,
            ..PlanFile::default()
        };
        Ok::<_, ApiError>(opened(&file.to_string(), &known))
    };
    match opened.await {
        Ok(fields) => of_catalogue(fields),
        Err(error) => trouble("plans", error),
    }
}

/// The form for new entries of the catalogue.
pub(in crate::console) async fn new_entries() -> Response {
    of_catalogue(opened(NEW_ENTRY, &KnownPlans::default()))
}

fn of_catalogue(mut fields: Fields) -> Response {
    fields.set("catalogue", "1");
    form(fields, Vec::new(), None)
}

/// Shows what would be published, or the form again.
pub(in crate::console) async fn ask(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Form(mut fields): Form<Fields>,
) -> Response {
    if fields.has("edit") {
        return form(fields.without(&["edit"]), Vec::new(), None);
    }
    match apply(&app, actor, &mut fields, false).await {
        Ok(applied) => review(fields, &applied),
        Err(refused) => again(&app, fields, refused).await,
    }
}

fn review(fields: Fields, applied: &Applied) -> Response {
    let page = ReviewPage {
        frame: Frame::new("plans"),
        fields,
        changes: differences(applied),
    };
    show(StatusCode::OK, &page)
}

/// Publishes what was reviewed.
pub(in crate::console) async fn publish(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Form(mut fields): Form<Fields>,
) -> Response {
    let applied = match apply(&app, actor, &mut fields, true).await {
        Ok(applied) => applied,
        Err(refused) => return again(&app, fields, refused).await,
    };
    let address = match (Origin::of(&fields), &applied.plans[..]) {
        (Origin::Plans, [only]) => Origin::Plan(only.after.version.name.clone()).address(),
        (origin, _) => origin.address(),
    };
    match applied.plans.is_empty() && applied.entries.is_empty() {
        // The form is sent again.
        true => Redirect::to(&address).into_response(),
        false => Done::PlansPublished.redirect(&address),
    }
}

/// Applies the file in the form. What is known for the first time becomes a field.
async fn apply(
    app: &App,
    actor: Actor,
    fields: &mut Fields,
    is_stored: bool,
) -> Result<Applied, Refused> {
    let text = fields.raw("text").replace("\r\n", "\n");
    let file = PlanFile::parse(&text);
    let file = file.map_err(|error| ApiError::BadRequest(error.in_text(&text)))?;
    let known = known(fields)?;
    let known = known.completed(KnownPlans::read(app.store.reader(), &file).await?);
    set_known(fields, &known);
    let change = app.change(actor);
    match apply_over(&app.store, &file, &known, &change, is_stored).await {
        Ok(applied) => Ok(applied),
        Err(
            error @ (PublishError::NotNext { .. }
            | PublishError::Raced(_)
            | PublishError::EntryChanged(_)),
        ) => Err(Refused::Changed(file, error.into())),
        Err(error) => Err(error.into()),
    }
}

fn known(fields: &Fields) -> Result<KnownPlans, ApiError> {
    serde_json::from_str(fields.raw("known"))
        .map_err(|_| ApiError::BadRequest("the form is incomplete; open it again".to_owned()))
}

/// Shows the form again, with what was entered and what others have changed.
async fn again(app: &App, mut fields: Fields, refused: Refused) -> Response {
    let (file, error) = match refused {
        Refused::Changed(file, error) => (file, error),
        Refused::Error(error) => return form(fields, Vec::new(), Some(&error)),
    };
    let changed = async {
        let (db, known) = (app.store.reader(), known(&fields)?);
        let others = known.changed_since(db, &file).await?;
        let now = KnownPlans::read(db, &file).await?;
        Ok::<_, ApiError>((others, now.completed(known)))
    };
    match changed.await {
        Ok((others, known)) => {
            set_known(&mut fields, &known);
            let error = others.is_empty().then_some(&error);
            form(fields, others, error)
        }
        Err(error) => form(fields, Vec::new(), Some(&error)),
    }
}
