//! What is around every page, and how a page becomes an answer.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};

use crate::app::App;
use crate::http::access::Caller;
use crate::http::error::ApiError;

/// What is around every page.
pub(super) struct Frame {
    pub(super) page: &'static str,
    pub(super) installation: String,
    /// Whether the caller may change things …
    pub(super) trusted: bool,
    /// … because a browser has a session.
    pub(super) signed_in: bool,
    pub(super) notice: Option<Notice>,
}

/// Something that has just been done.
pub(super) struct Notice {
    pub(super) tone: &'static str,
    pub(super) text: &'static str,
}

/// What has been done, as the address says it after a redirect.
#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Done {
    Activated,
    Deactivated,
    DeactivatedHereOnly,
    Imported,
    Denied,
    GivenUp,
    Switched,
    SignedIn,
    SignedOut,
}

/// What an address may say.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    pub(super) done: Option<Done>,
}

impl Frame {
    pub(super) fn new(page: &'static str, app: &App, caller: Caller) -> Self {
        Self {
            page,
            installation: app.installation_name.clone(),
            trusted: caller.trusted,
            signed_in: caller.signed_in,
            notice: None,
        }
    }

    pub(super) fn after(mut self, done: Option<Done>) -> Self {
        self.notice = done.map(Done::notice);
        self
    }
}

impl Done {
    fn notice(self) -> Notice {
        let (tone, text) = match self {
            Self::Activated => ("good", "The license is activated."),
            Self::Deactivated => ("good", "The license is deactivated; its seat is free."),
            Self::DeactivatedHereOnly => (
                "wait",
                "The license is deactivated here. The License Server could not be told: the vendor has to free the seat.",
            ),
            Self::Imported => ("good", "The license file is imported."),
            Self::Denied => ("bad", "The file is imported, and it says no."),
            Self::GivenUp => ("good", "The vendor confirms that the seat is free."),
            Self::Switched => ("good", "Done. It is so on this site from now on."),
            Self::SignedIn => ("good", "You are signed in."),
            Self::SignedOut => ("good", "You are signed out."),
        };
        Notice { tone, text }
    }

    /// Goes on to the overview, which says so.
    pub(super) fn go_on(self) -> Response {
        let done = serde_json::json!(self);
        let done = done.as_str().unwrap_or_default();
        Redirect::to(&format!("/?done={done}")).into_response()
    }
}

/// A page as an answer.
pub(super) fn show(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            ApiError::Internal.into_response()
        }
    }
}
