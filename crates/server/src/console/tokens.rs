//! The named tokens of the vendor's staff: list, create, revoke.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Form};
use license_console::moment::Moment;
use license_console::page::show;
use serde::Deserialize;

use super::fields::{Fields, never_or_day};
use super::filters::unreadable;
use super::frame::{Confirmation, Done, Fact, Frame, Said, trouble};
use crate::app::App;
use crate::audit::Actor;
use crate::http::access::Access;
use crate::http::error::ApiError;
use crate::licensing::day_words::last_day;
use crate::licensing::tokens::{
    MAX_NAME_CHARS, MAX_NOTE_CHARS, ShownNamedToken, TokenRequest, TokenStatus, add, check, revoke,
};
use crate::store::admin_tokens::{self, TokensCursor};

/// Tokens on a page.
const ROWS: u64 = 50;

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    frame: Frame,
    rows: Vec<Row>,
    total: u64,
    /// Whether this is not the first page.
    is_older: bool,
    older: Option<i64>,
}

struct Row {
    name: String,
    note: Option<String>,
    status: TokenStatus,
    created: Moment,
    created_by: String,
    /// Empty if it has no end.
    ends: String,
    last_used: Option<Moment>,
}

#[derive(Default, Deserialize)]
pub(super) struct TokensQuery {
    #[serde(default)]
    before: Option<i64>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    wanted: Result<Query<TokensQuery>, QueryRejection>,
    said: Result<Query<Said>, QueryRejection>,
) -> Response {
    let done = said.map(|Query(said)| said).unwrap_or_default().done;
    let before = match wanted {
        Ok(Query(wanted)) => wanted.before,
        Err(error) => return trouble("tokens", unreadable(&error)),
    };
    match load(&app, before).await {
        Ok(mut page) => {
            page.frame = Frame::new("tokens").after(done);
            show(StatusCode::OK, &page)
        }
        Err(error) => trouble("tokens", error),
    }
}

async fn load(app: &App, before: Option<i64>) -> Result<TokensPage, ApiError> {
    let (db, now) = (app.store.reader(), app.clock.now());
    let cursor = before.map(|below| TokensCursor { below });
    let found = admin_tokens::newest(db, cursor.as_ref(), ROWS).await?;
    let older = found.last_of_more().map(|last| last.id);
    let rows = found.rows.into_iter().map(|token| {
        let token = ShownNamedToken::of(token, now);
        Row {
            name: token.name,
            note: token.note,
            status: token.status,
            created: Moment::of(token.created_at),
            created_by: token.created_by,
            ends: token.expires_at.map(last_day).unwrap_or_default(),
            last_used: token.last_used_at.map(Moment::of),
        }
    });
    Ok(TokensPage {
        frame: Frame::new("tokens"),
        rows: rows.collect(),
        total: admin_tokens::count(db).await?,
        is_older: before.is_some(),
        older,
    })
}

#[derive(Template)]
#[template(path = "token_new.html")]
struct NewPage {
    frame: Frame,
    fields: Fields,
    max_name: usize,
    max_note: usize,
    error: Option<String>,
}

/// Shows the new token, the only time.
#[derive(Template)]
#[template(path = "token.html")]
struct TokenPage {
    frame: Frame,
    name: String,
    token: String,
}

pub(super) async fn new_page() -> Response {
    form(Fields::default(), None)
}

fn form(fields: Fields, error: Option<&ApiError>) -> Response {
    let page = NewPage {
        frame: Frame::new("tokens"),
        fields,
        max_name: MAX_NAME_CHARS,
        max_note: MAX_NOTE_CHARS,
        error: error.map(ApiError::message),
    };
    show(error.map_or(StatusCode::OK, ApiError::status), &page)
}

fn request(fields: &Fields) -> Result<TokenRequest, ApiError> {
    Ok(TokenRequest {
        name: fields.text("name").to_owned(),
        expires_at: never_or_day(fields.text("end"), fields.text("day"))?,
        note: fields.some("note"),
    })
}

/// Shows the token that would be created, or the form again.
pub(super) async fn ask(State(app): State<Arc<App>>, Form(fields): Form<Fields>) -> Response {
    if fields.has("edit") {
        return form(fields, None);
    }
    let asked = request(&fields).and_then(|request| {
        check(&request, app.clock.now())?;
        Ok(request)
    });
    match asked {
        Ok(request) => question(&request, &fields).ask("tokens"),
        Err(error) => form(fields, Some(&error)),
    }
}

fn question(request: &TokenRequest, fields: &Fields) -> Confirmation {
    let ends = request.expires_at.map(last_day);
    let hidden = ["name", "end", "day", "note"];
    Confirmation {
        what: "add-token",
        action: "/console/tokens/add".to_owned(),
        edit: Some("/console/tokens/new"),
        facts: vec![
            Fact::new("token", &request.name),
            Fact::new("ends", ends.unwrap_or("never".to_owned())),
            Fact::new("note", request.note.clone().unwrap_or_default()),
        ],
        hidden: hidden
            .map(|name| (name, fields.raw(name).to_owned()))
            .into(),
        ..Confirmation::default()
    }
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    State(access): State<Arc<Access>>,
    Extension(actor): Extension<Actor>,
    Form(fields): Form<Fields>,
) -> Response {
    let created = async {
        let request = request(&fields)?;
        Ok::<_, ApiError>(add(&app.store, &request, &app.change(actor)).await?)
    };
    match created.await {
        Ok((token, known)) => {
            access.follow_addition().await;
            let page = TokenPage {
                frame: Frame::new("tokens"),
                name: known.name,
                token,
            };
            show(StatusCode::OK, &page)
        }
        Err(error) => form(fields, Some(&error)),
    }
}

pub(super) async fn ask_revoke(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response {
    // No name contains a NUL, which PostgreSQL does not accept.
    let found = admin_tokens::find(app.store.reader(), &name.replace('\0', "")).await;
    match found {
        Ok(Some(token)) => {
            let last_used = token.last_used_at.map(|at| Moment::of(at).text);
            let facts = vec![
                Fact::new("token", &token.name),
                Fact::new("last-used", last_used.unwrap_or("never".to_owned())),
                Fact::new("note", token.note.unwrap_or_default()),
            ];
            to_revoke(&token.name, facts).ask("tokens")
        }
        Ok(None) => {
            let message = format!("there is no token '{name}', or it has already been revoked");
            trouble("tokens", ApiError::Unknown(message))
        }
        Err(error) => trouble("tokens", error),
    }
}

fn to_revoke(name: &str, facts: Vec<Fact>) -> Confirmation {
    Confirmation {
        what: "revoke-token",
        action: format!("/console/tokens/{name}/revoke"),
        back: "/console/tokens".to_owned(),
        facts,
        is_destructive: true,
        ..Confirmation::default()
    }
}

pub(super) async fn revoke_token(
    State(app): State<Arc<App>>,
    State(access): State<Arc<Access>>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Response {
    match revoke(&app.store, &name, &app.change(actor)).await {
        Ok(token) => {
            access.forget_token(token.id);
            Done::TokenRevoked.redirect("/console/tokens")
        }
        Err(error) => {
            let facts = vec![Fact::new("token", &name)];
            to_revoke(&name, facts).ask_again("tokens", &error.into())
        }
    }
}
