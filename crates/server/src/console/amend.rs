//! Amends a license: the form, the preview, and the result; also undoes an amendment.

mod form;
mod preview;

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Form};
use chrono::{DateTime, Utc};
use license_console::page::show;
use license_core::amendment::{Terms, contents, judged_at};
use license_core::catalogue::{CatalogueEntry, Kind};
use license_core::plan::LicenseEnd;
use serde::Deserialize;

use super::additions::AdditionRow;
use super::fields::Fields;
use super::filters::unreadable;
use super::frame::{Done, Frame, trouble};
use super::issue::Defaults;
use super::known_customers::offered;
use super::license::address;
use crate::app::App;
use crate::audit::Actor;
use crate::http::error::ApiError;
use crate::licensing::amend::{amend, preview as previewed};
use crate::licensing::amend_error::AmendError;
use crate::licensing::amendment_words::{History, Told};
use crate::licensing::current::with_history;
use crate::licensing::day_words::{first_day, last_day};
use crate::licensing::end_words::ends;
use crate::licensing::evaluation::in_turn;
use crate::licensing::look_up::look_up;
use crate::store::StoreError;
use crate::store::customers::NamedCustomer;
use crate::store::licenses::License;
use crate::store::plans::{self, PublishedPlan};
use form::{request, rows};
pub(super) use preview::statements;

#[derive(Template)]
#[template(path = "amend.html")]
struct AmendPage {
    frame: Frame,
    license: License,
    fields: Fields,
    rows: Vec<AdditionRow>,
    features: Vec<CatalogueEntry>,
    counts: Vec<CatalogueEntry>,
    held: Vec<Held>,
    plans: Vec<PublishedPlan>,
    customers: Vec<NamedCustomer>,
    defaults: Defaults,
    now: Present,
    /// The amendment to undo.
    undoes: Option<Undone>,
    problem: Option<Problem>,
}

/// Something that the license grants and that can be ended.
struct Held {
    key: String,
    name: String,
    is_checked: bool,
}

/// What the license consists of now.
struct Present {
    starts: String,
    ends: String,
    updates_until: String,
    terms: Terms,
}

/// The amendment to undo.
struct Undone {
    number: u32,
    sentence: String,
}

/// Why the form is shown again.
enum Problem {
    /// Others have amended the license in the meantime: what they have changed.
    Amended(String),
    /// A field is wrong, or the amendment is not possible now.
    Error(String),
}

/// The amendment to undo, if that is asked for.
#[derive(Default, Deserialize)]
pub(super) struct AmendQuery {
    #[serde(default)]
    undo: Option<u32>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    Path(license): Path<String>,
    wanted: Result<Query<AmendQuery>, QueryRejection>,
) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return trouble("licenses", unreadable(&error)),
    };
    let license = match look_up(&app.store, &license).await {
        Ok(license) => license,
        Err(error) => return trouble("licenses", error),
    };
    let mut fields = Fields::default();
    fields.set("after", license.amendment.to_string());
    if let Some(number) = wanted.undo {
        fields.set("undo", number.to_string());
    }
    form_page(&app, license, fields, StatusCode::OK, None).await
}

async fn form_page(
    app: &App,
    license: License,
    fields: Fields,
    status: StatusCode,
    problem: Option<Problem>,
) -> Response {
    match load(app, license, fields, problem).await {
        Ok(page) => show(status, &page),
        Err(error) => trouble("licenses", error),
    }
}

async fn load(
    app: &App,
    license: License,
    fields: Fields,
    problem: Option<Problem>,
) -> Result<AmendPage, ApiError> {
    let (db, now) = (app.store.reader(), app.clock.now());
    let undoes: Option<u32> = fields.some("undo").and_then(|text| text.parse().ok());
    let sent = fields.clone();
    let telling = async {
        let (license, amendments) = with_history(db, license, now).await?;
        let history = History::read(db, amendments).await?;
        let of = license.clone();
        let told = move |told: Told<'_>| {
            let undoes = undoes.map(|number| undone(&told, number)).transpose();
            (undoes, held(&of, &told, &sent, now), present(&told, now))
        };
        let told = history.told(&app.store, told).await?;
        Ok::<_, ApiError>((license, told, history.items()))
    };
    let (license, told, items) = in_turn(&app.store, telling).await?;
    let (undoes, held, present) = told;
    let of_kind = |kind| {
        let entries = items.entries().filter(move |it| it.kind == kind);
        entries.cloned().collect::<Vec<_>>()
    };
    Ok(AmendPage {
        frame: Frame::new("licenses"),
        rows: rows(&fields),
        features: of_kind(Kind::Feature),
        counts: of_kind(Kind::Count),
        held,
        plans: plans::newest(db).await?,
        customers: offered(db).await?,
        defaults: Defaults::of(app),
        now: present,
        undoes: undoes?,
        problem,
        license,
        fields,
    })
}

fn undone(told: &Told<'_>, number: u32) -> Result<Undone, ApiError> {
    let found = told.amendments().iter().find(|it| it.number == number);
    let unknown = || ApiError::Unknown(format!("the license has no amendment {number}"));
    let sentence = told.sentences(&[found.ok_or_else(unknown)?]).concat();
    Ok(Undone { number, sentence })
}

/// What the license grants now or later, and what is marked to be ended.
fn held(license: &License, told: &Told<'_>, fields: &Fields, now: DateTime<Utc>) -> Vec<Held> {
    let granted = license.entitlements(told.amendments(), now);
    let granted = granted.iter().map(|it| it.key.as_str());
    let marked: BTreeSet<&str> = fields.all("stop").collect();
    let keys: BTreeSet<&str> = granted.chain(marked.iter().copied()).collect();
    let held = keys.into_iter().map(|key| Held {
        key: key.to_owned(),
        name: told.items().name(key),
        is_checked: marked.contains(key),
    });
    held.collect()
}

fn present(told: &Told<'_>, now: DateTime<Utc>) -> Present {
    let amendments = told.amendments();
    let contents = contents(amendments, judged_at(amendments, now));
    let until = contents.terms.updates_until;
    Present {
        starts: contents.starts_at.map_or("no start".to_owned(), |at| {
            format!("starts {}", first_day(at))
        }),
        ends: ends(LicenseEnd::of(&contents), last_day),
        updates_until: until.map_or("all releases".to_owned(), last_day),
        terms: contents.terms,
    }
}

/// Shows the preview, or the form again.
pub(super) async fn ask(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    let license = match look_up(&app.store, &license).await {
        Ok(license) => license,
        Err(error) => return trouble("licenses", error),
    };
    if fields.has("edit") || fields.has("more") {
        let fields = fields.without(&["edit"]);
        return form_page(&app, license, fields, StatusCode::OK, None).await;
    }
    match preview_page(&app, actor, &license, &fields).await {
        Ok(page) => show(StatusCode::OK, &page),
        Err(refused) => again(&app, license, fields, refused).await,
    }
}

async fn preview_page(
    app: &App,
    actor: Actor,
    license: &License,
    fields: &Fields,
) -> Result<preview::Preview, Refused> {
    let request = request(fields)?;
    let change = app.permitted_change(actor).map_err(ApiError::from)?;
    let previewing = async {
        let amended = previewed(&app.store, &license.id, &request, &change).await?;
        let (at, fields) = (change.at, fields.clone());
        let preview = preview::preview(app, license, amended, &request, fields, at).await;
        Ok(preview?)
    };
    in_turn(&app.store, previewing).await
}

pub(super) async fn confirm(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(license): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    let license = match look_up(&app.store, &license).await {
        Ok(license) => license,
        Err(error) => return trouble("licenses", error),
    };
    let amended = async {
        let request = request(&fields)?;
        let change = app.permitted_change(actor).map_err(ApiError::from)?;
        amend(&app.store, &license.id, &request, &change).await?;
        Ok::<_, Refused>(())
    };
    match amended.await {
        Ok(()) => Done::Amended.redirect(&address(&license)),
        Err(refused) => again(&app, license, fields, refused).await,
    }
}

/// Why there is no preview and no amendment.
enum Refused {
    /// Others have amended the license: what they have changed, and the newest amendment.
    Amended { newest: u32, changes: String },
    /// Anything else.
    Error(ApiError),
}

impl From<AmendError> for Refused {
    fn from(error: AmendError) -> Self {
        match error {
            AmendError::Amended {
                newest, changes, ..
            } => Self::Amended { newest, changes },
            error => Self::Error(error.into()),
        }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Error(error.into())
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

/// Shows the form again, with what was entered. The next try is for the newest amendment.
async fn again(app: &App, license: License, mut fields: Fields, refused: Refused) -> Response {
    match refused {
        Refused::Amended { newest, changes } => {
            fields.set("after", newest.to_string());
            let problem = Some(Problem::Amended(changes));
            form_page(app, license, fields, StatusCode::CONFLICT, problem).await
        }
        Refused::Error(error) => {
            let problem = Some(Problem::Error(error.message()));
            form_page(app, license, fields, error.status(), problem).await
        }
    }
}
