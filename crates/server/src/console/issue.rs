//! Issues a license: form, confirmation, result.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::{Extension, Form};
use clap::ValueEnum as _;
use license_console::page::show;
use license_core::amendment::TermChanges;
use license_core::feature::LICENSED_FEATURES;
use serde::Deserialize;

use super::frame::{Confirmation, Done, Fact, Frame};
use super::license::{address, last_day};
use crate::app::App;
use crate::audit::Actor;
use crate::http::error::ApiError;
use crate::licensing::catalogue::Tier;
use crate::licensing::issue::{IssueError, IssueRequest, issue as issue_license, prepare};
use crate::licensing::look_up::look_up;
use crate::store::licenses::License;

/// The fields of the form. Empty fields use the values of the tier.
#[derive(Default, Deserialize)]
pub(super) struct IssueForm {
    #[serde(default)]
    customer: String,
    #[serde(default)]
    tier: String,
    #[serde(default)]
    seats: String,
    #[serde(default)]
    moves: String,
    #[serde(default)]
    moves_period_days: String,
    #[serde(default)]
    max_cameras: String,
    #[serde(default)]
    max_users: String,
    #[serde(default)]
    max_storage_gb: String,
    #[serde(default)]
    with: String,
    #[serde(default)]
    without: String,
    #[serde(default)]
    day: String,
    #[serde(default)]
    key: String,
    /// The key as it was typed, next to the key that would be issued.
    #[serde(default)]
    typed_key: String,
    /// Not empty if the form is shown again.
    #[serde(default)]
    edit: String,
}

#[derive(Template)]
#[template(path = "issue.html")]
struct IssuePage {
    frame: Frame,
    given: IssueForm,
    tiers: Vec<&'static str>,
    known: [&'static str; LICENSED_FEATURES.len()],
    error: Option<String>,
}

pub(super) async fn page() -> Response {
    form(IssueForm::default(), None)
}

fn form(given: IssueForm, error: Option<&ApiError>) -> Response {
    let status = error.map_or(StatusCode::OK, ApiError::status);
    let page = IssuePage {
        frame: Frame::new("licenses"),
        given,
        tiers: Tier::value_variants()
            .iter()
            .map(|tier| tier.name())
            .collect(),
        known: LICENSED_FEATURES,
        error: error.map(ApiError::message),
    };
    show(status, &page)
}

/// Shows what would be issued. The key is generated here, so that confirming twice
/// issues only one license.
pub(super) async fn ask(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Form(mut given): Form<IssueForm>,
) -> Response {
    if !given.edit.is_empty() {
        given.key = std::mem::take(&mut given.typed_key);
        return form(given, None);
    }
    let request = match given.request() {
        Ok(request) => request,
        Err(error) => return form(given, Some(&error)),
    };
    let change = match app.permitted_change(actor) {
        Ok(change) => change,
        Err(doubt) => return form(given, Some(&doubt.into())),
    };
    match prepare(&app.store, request, &change).await {
        Ok(draft) => question(&given, &draft.license).ask("licenses"),
        Err(error) => form(given, Some(&ApiError::from(error))),
    }
}

pub(super) async fn issue(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Form(given): Form<IssueForm>,
) -> Response {
    let request = match given.request() {
        Ok(request) => request,
        Err(error) => return form(given, Some(&error)),
    };
    let change = match app.permitted_change(actor) {
        Ok(change) => change,
        Err(doubt) => return form(given, Some(&doubt.into())),
    };
    match issue_license(&app.store, request, &change).await {
        Ok(license) => Done::Issued.redirect(&address(&license)),
        Err(IssueError::Exists(key)) => match look_up(&app.store, &key).await {
            Ok(license) => Redirect::to(&address(&license)).into_response(),
            Err(error) => form(given, Some(&ApiError::from(error))),
        },
        Err(error) => form(given, Some(&ApiError::from(error))),
    }
}

impl IssueForm {
    /// Whether any value differs from the tier.
    fn differs(&self) -> bool {
        let fields = [
            &self.seats,
            &self.moves,
            &self.moves_period_days,
            &self.max_cameras,
            &self.max_users,
            &self.max_storage_gb,
            &self.with,
            &self.without,
            &self.key,
        ];
        fields.into_iter().any(|field| !field.is_empty())
    }

    fn request(&self) -> Result<IssueRequest, ApiError> {
        let tier = Tier::from_str(&self.tier, true)
            .map_err(|_| ApiError::BadRequest("choose a tier".to_owned()))?;
        Ok(IssueRequest {
            customer: self.customer.trim().to_owned(),
            terms: TermChanges {
                seats: number("seats", &self.seats)?,
                moves: number("moves", &self.moves)?,
                moves_period_days: number("length of the period in days", &self.moves_period_days)?,
                ..TermChanges::default()
            },
            max_cameras: number("cameras", &self.max_cameras)?,
            max_users: number("users", &self.max_users)?,
            max_storage_gb: number("storage", &self.max_storage_gb)?,
            with: words(&self.with),
            without: words(&self.without),
            expires_at: last_day(&self.day)?,
            key: Some(self.key.trim().to_owned()).filter(|key| !key.is_empty()),
            ..IssueRequest::of(tier)
        })
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<Option<T>, ApiError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse().map(Some);
    number.map_err(|_| ApiError::BadRequest(format!("{name}: '{text}' is not a number")))
}

fn words(text: &str) -> Vec<String> {
    let separators = |c: char| c.is_whitespace() || c == ',';
    let words = text.split(separators).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

fn question(given: &IssueForm, license: &License) -> Confirmation {
    let limit = |limit: i64| match u64::try_from(limit) {
        Ok(limit) => limit.to_string(),
        Err(_) => "∞".to_owned(),
    };
    let end = license.expires_at.map(|end| end.format("%Y-%m-%d"));
    let facts = vec![
        Fact::new("customer", &license.customer),
        Fact::new("tier", &license.tier),
        Fact::new("features", license.features.join(", ")),
        Fact::new("seats", license.seats.to_string()),
        Fact::new(
            "moves",
            format!("{} in {} days", license.moves, license.moves_period_days),
        ),
        Fact::new("cameras", limit(license.max_cameras)),
        Fact::new("users", limit(license.max_users)),
        Fact::new("storage_gb", limit(license.max_storage_gb)),
        Fact::new("ends", end.map_or("–".to_owned(), |end| end.to_string())),
        Fact::new("key", &license.license_key),
    ];
    Confirmation {
        what: "issue",
        action: "/console/licenses/issue".to_owned(),
        edit: Some("/console/licenses/new"),
        facts,
        hidden: vec![
            ("customer", given.customer.clone()),
            ("tier", given.tier.clone()),
            ("seats", given.seats.clone()),
            ("moves", given.moves.clone()),
            ("moves_period_days", given.moves_period_days.clone()),
            ("max_cameras", given.max_cameras.clone()),
            ("max_users", given.max_users.clone()),
            ("max_storage_gb", given.max_storage_gb.clone()),
            ("with", given.with.clone()),
            ("without", given.without.clone()),
            ("day", given.day.clone()),
            ("key", license.license_key.clone()),
            ("typed_key", given.key.clone()),
        ],
        ..Confirmation::default()
    }
}
