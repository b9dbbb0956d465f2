//! Signing keys and their rotation.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Form};
use chrono::TimeDelta;
use license_console::moment::Moment;
use license_console::page::show;
use serde::Deserialize;

use super::frame::{Confirmation, Done, Fact, Frame, Said, trouble};
use crate::app::App;
use crate::audit::Actor;
use crate::http::error::ApiError;
use crate::licensing::key_changes::{DEFAULT_OVERLAP_DAYS, MAX_OVERLAP_DAYS, revoke_in, rotate_in};
use crate::licensing::keys_error::KeysError;
use crate::signing::SigningError;

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    frame: Frame,
    key_set: u64,
    keys: Vec<Row>,
}

struct Row {
    kid: String,
    state: &'static str,
    signs_from: Moment,
    created: Moment,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    said: Result<Query<Said>, QueryRejection>,
) -> Response {
    let done = said.map(|Query(said)| said).unwrap_or_default().done;
    let keys = app.keys();
    let rows = keys.list(app.clock.now()).into_iter();
    let page = KeysPage {
        frame: Frame::new("keys").after(done),
        key_set: keys.version(),
        keys: rows
            .map(|key| Row {
                kid: key.kid,
                state: key.state,
                signs_from: Moment::of(key.signs_from),
                created: Moment::of(key.created),
            })
            .collect(),
    };
    show(StatusCode::OK, &page)
}

pub(super) async fn ask_rotate() -> Response {
    to_rotate(DEFAULT_OVERLAP_DAYS.to_string()).ask("keys")
}

fn to_rotate(days: String) -> Confirmation {
    Confirmation {
        what: "rotate",
        action: "/console/keys/rotate".to_owned(),
        back: "/console/keys".to_owned(),
        days: Some(days),
        ..Confirmation::default()
    }
}

#[derive(Deserialize)]
pub(super) struct RotateForm {
    #[serde(default)]
    days: String,
}

pub(super) async fn rotate(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Form(given): Form<RotateForm>,
) -> Response {
    let days = given.days.trim().parse::<u16>().ok();
    let Some(days) = days.filter(|days| *days <= MAX_OVERLAP_DAYS) else {
        let error = format!("expected 0 to {MAX_OVERLAP_DAYS} days");
        let error = ApiError::BadRequest(error);
        return to_rotate(given.days).ask_again("keys", &error);
    };
    match rotate_in(&app, TimeDelta::days(days.into()), actor).await {
        Ok(_) => Done::KeyMade.redirect("/console/keys"),
        Err(error) => to_rotate(given.days).ask_again("keys", &error.into()),
    }
}

pub(super) async fn ask_revoke(State(app): State<Arc<App>>, Path(kid): Path<String>) -> Response {
    let (keys, now) = (app.keys(), app.clock.now());
    if keys.list(now).iter().any(|key| key.kid == kid) {
        let question = match keys.can_do_without(&kid, now) {
            true => to_revoke(&kid),
            false => to_replace(&kid),
        };
        return question.ask("keys");
    }
    let error = SigningError::UnknownKey(kid);
    trouble("keys", KeysError::from(error))
}

fn to_revoke(kid: &str) -> Confirmation {
    Confirmation {
        what: "revoke-key",
        // The target of the form must not depend on the id.
        action: format!("/console/keys/{}/revoke", encoded(kid)),
        back: "/console/keys".to_owned(),
        facts: vec![Fact::new("signing-key", kid)],
        is_destructive: true,
        ..Confirmation::default()
    }
}

/// The only key that can sign has to be replaced before it can be revoked.
fn to_replace(kid: &str) -> Confirmation {
    Confirmation {
        what: "replace-key",
        facts: vec![Fact::new("signing-key", kid)],
        ..to_rotate("0".to_owned())
    }
}

fn encoded(kid: &str) -> String {
    url::form_urlencoded::byte_serialize(kid.as_bytes()).collect()
}

pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
    Path(kid): Path<String>,
) -> Response {
    match revoke_in(&app, kid.clone(), actor).await {
        Ok(_) => Done::KeyRevoked.redirect("/console/keys"),
        // The other key was revoked in the meantime.
        Err(KeysError::Signing(SigningError::OnlyKey(_))) => to_replace(&kid).ask("keys"),
        Err(error) => to_revoke(&kid).ask_again("keys", &error.into()),
    }
}
