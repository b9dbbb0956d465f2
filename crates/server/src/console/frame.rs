//! What is around every page, what it says after a change, and how it asks
//! before one.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use license_console::page::{Notice, show};
use serde::Deserialize;

use crate::http::error::ApiError;

/// What is around every page.
pub(super) struct Frame {
    pub(super) page: &'static str,
    pub(super) signed_in: bool,
    pub(super) notice: Option<Notice>,
}

/// What has been done, as the address says it after a redirect.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Done {
    Issued,
    Renewed,
    Suspended,
    Reinstated,
    Revoked,
    SeatFreed,
    SeatReleased,
    KeyMade,
    KeyRevoked,
    SignedIn,
    SignedOut,
}

/// What an address may say.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    pub(super) done: Option<Done>,
}

/// A question before a change: what for, about what, and what there is to fill
/// in.
#[derive(Default)]
pub(super) struct Question {
    /// The code of its words in `ask.html`.
    pub(super) what: &'static str,
    /// Where the answer goes.
    pub(super) action: String,
    /// Where a no goes.
    pub(super) back: String,
    /// Where a no takes what was filled in, instead: the form shows it again.
    pub(super) edit: Option<&'static str>,
    /// What it is about.
    pub(super) facts: Vec<Fact>,
    /// What goes along.
    pub(super) hidden: Vec<(&'static str, String)>,
    /// Words for the site, if it may be told some.
    pub(super) message: Option<String>,
    /// A day, if one is asked for.
    pub(super) day: Option<String>,
    /// A number of days, if one is asked for.
    pub(super) days: Option<String>,
    /// Whether it takes something away.
    pub(super) takes_away: bool,
}

/// One thing that the question is about.
pub(super) struct Fact {
    /// Code of its label in `ask.html`.
    pub(super) code: &'static str,
    pub(super) text: String,
}

#[derive(Template)]
#[template(path = "ask.html")]
struct Ask {
    frame: Frame,
    question: Question,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "trouble.html")]
struct Trouble {
    frame: Frame,
    error: String,
}

impl Frame {
    pub(super) fn new(page: &'static str) -> Self {
        Self {
            page,
            signed_in: true,
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
        let (tone, code) = match self {
            Self::Issued => ("good", "issued"),
            Self::Renewed => ("good", "renewed"),
            Self::Suspended => ("wait", "suspended"),
            Self::Reinstated => ("good", "reinstated"),
            Self::Revoked => ("wait", "revoked"),
            Self::SeatFreed => ("good", "seat-freed"),
            Self::SeatReleased => ("good", "seat-released"),
            Self::KeyMade => ("good", "key-made"),
            Self::KeyRevoked => ("wait", "key-revoked"),
            Self::SignedIn => ("good", "signed-in"),
            Self::SignedOut => ("good", "signed-out"),
        };
        Notice { tone, code }
    }

    /// Goes on to a page, which says so.
    pub(super) fn go_on(self, page: &str) -> Response {
        let mark = if page.contains('?') { '&' } else { '?' };
        let code = self.notice().code;
        Redirect::to(&format!("{page}{mark}done={code}")).into_response()
    }
}

impl Fact {
    pub(super) fn new(code: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code, text }
    }
}

impl Question {
    /// Asks.
    pub(super) fn ask(self, page: &'static str) -> Response {
        let frame = Frame::new(page);
        let asked = Ask {
            frame,
            question: self,
            error: None,
        };
        show(StatusCode::OK, &asked)
    }

    /// Asks again: the answer could not be taken.
    pub(super) fn ask_again(self, page: &'static str, error: &ApiError) -> Response {
        let asked = Ask {
            frame: Frame::new(page),
            question: self,
            error: Some(error.message()),
        };
        show(error.status(), &asked)
    }
}

/// Something cannot be shown; the page says why.
pub(super) fn trouble(page: &'static str, error: impl Into<ApiError>) -> Response {
    let error = error.into();
    let shown = Trouble {
        frame: Frame::new(page),
        error: error.message(),
    };
    show(error.status(), &shown)
}
