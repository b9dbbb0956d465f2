//! Starts a trial.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use license_console::page::show;
use license_service::unattended::finish_even_if_disconnected;
use serde::Deserialize;

use super::frame::{Done, Frame};
use crate::app::App;
use crate::http::access::Caller;
use crate::http::error::ApiError;
use crate::licensing;

#[derive(Template)]
#[template(path = "trial.html")]
struct Trial {
    frame: Frame,
    /// Whether a license is active.
    licensed: bool,
    code: String,
    error: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct TrialForm {
    #[serde(default)]
    code: String,
}

impl Trial {
    fn new(app: &App, caller: Caller) -> Self {
        Self {
            frame: Frame::new("trial", app, caller),
            licensed: app.snapshot().evidence.lease.is_some(),
            code: String::new(),
            error: None,
        }
    }
}

pub(super) async fn page(State(app): State<Arc<App>>, caller: Caller) -> Response {
    show(StatusCode::OK, &Trial::new(&app, caller))
}

/// An empty code is none.
pub(super) async fn start(
    State(app): State<Arc<App>>,
    caller: Caller,
    Form(given): Form<TrialForm>,
) -> Response {
    let (starting, code) = (app.clone(), given.code.clone());
    let started = finish_even_if_disconnected(async move {
        let code = Some(code.trim()).filter(|code| !code.is_empty());
        licensing::start_trial::start_trial(&starting, code).await
    })
    .await;
    match started
        .map_err(ApiError::from)
        .and_then(|started| started.map_err(ApiError::from))
    {
        Ok(_) => Done::TrialStarted.redirect(),
        Err(error) => {
            let page = Trial {
                code: given.code,
                error: Some(error.detail()),
                ..Trial::new(&app, caller)
            };
            show(error.status(), &page)
        }
    }
}
