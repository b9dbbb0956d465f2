//! The layout of every page, the message after a change, and the confirmation before
//! one.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use license_console::page::{Notice, show};
use serde::Deserialize;

use crate::http::error::ApiError;

/// The layout of every page.
pub(super) struct Frame {
    pub(super) page: &'static str,
    pub(super) signed_in: bool,
    pub(super) notice: Option<Notice>,
}

/// The change that was made, as it appears in the address after a redirect.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Done {
    Issued,
    Amended,
    Renewed,
    Suspended,
    Reinstated,
    Revoked,
    SeatFreed,
    SeatReleased,
    KeyMade,
    KeyRevoked,
    CustomerAdded,
    CustomerChanged,
    CustomerMerged,
    TokenRevoked,
    AddOnRefunded,
    TrialCodeWithdrawn,
    PlansPublished,
    SignedIn,
    /// The browser sent no session after signing in.
    NoSession,
    SignedOut,
}

/// The codes that an address may contain.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    pub(super) done: Option<Done>,
}

/// The confirmation page before a change: what will be changed, and the fields to fill
/// in.
#[derive(Default)]
pub(super) struct Confirmation {
    /// The code of its text in `ask.html`.
    pub(super) what: &'static str,
    /// The URL that the form is sent to.
    pub(super) action: String,
    /// The URL of the "Go back" link.
    pub(super) back: String,
    /// If set, "Go back" sends the fields to this URL instead, which shows the form again.
    pub(super) edit: Option<&'static str>,
    /// What is changed.
    pub(super) facts: Vec<Fact>,
    /// Hidden fields.
    pub(super) hidden: Vec<(&'static str, String)>,
    /// The message for the site, if it can have one.
    pub(super) message: Option<String>,
    /// The choice of an end, if there is one.
    pub(super) end: Option<EndField>,
    /// Why it is changed, if there are such fields.
    pub(super) why: Option<WhyFields>,
    /// The number of days, if there is such a field.
    pub(super) days: Option<String>,
    /// Whether the change is destructive.
    pub(super) is_destructive: bool,
}

/// The choice of an end.
pub(super) struct EndField {
    /// `never`, `day`, or empty if nothing is chosen.
    pub(super) choice: String,
    /// The last day.
    pub(super) day: String,
}

/// The order and the reason of a change.
pub(super) struct WhyFields {
    pub(super) order: String,
    pub(super) reason: String,
}

/// One item that is changed.
pub(super) struct Fact {
    /// Code of its label in `ask.html`.
    pub(super) code: &'static str,
    pub(super) text: String,
}

#[derive(Template)]
#[template(path = "ask.html")]
struct Ask {
    frame: Frame,
    question: Confirmation,
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
            Self::Amended => ("good", "amended"),
            Self::Renewed => ("good", "renewed"),
            Self::Suspended => ("wait", "suspended"),
            Self::Reinstated => ("good", "reinstated"),
            Self::Revoked => ("wait", "revoked"),
            Self::SeatFreed => ("good", "seat-freed"),
            Self::SeatReleased => ("good", "seat-released"),
            Self::KeyMade => ("good", "key-made"),
            Self::KeyRevoked => ("wait", "key-revoked"),
            Self::CustomerAdded => ("good", "customer-added"),
            Self::CustomerChanged => ("good", "customer-changed"),
            Self::CustomerMerged => ("good", "customer-merged"),
            Self::TokenRevoked => ("wait", "token-revoked"),
            Self::AddOnRefunded => ("wait", "add-on-refunded"),
            Self::TrialCodeWithdrawn => ("wait", "trial-code-withdrawn"),
            Self::PlansPublished => ("good", "plans-published"),
            Self::SignedIn => ("good", "signed-in"),
            Self::NoSession => ("bad", "no-session"),
            Self::SignedOut => ("good", "signed-out"),
        };
        Notice { tone, code }
    }

    /// Redirects to a page, which shows the message.
    pub(super) fn redirect(self, page: &str) -> Response {
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

impl Confirmation {
    /// Shows the confirmation page.
    pub(super) fn ask(self, page: &'static str) -> Response {
        let frame = Frame::new(page);
        let asked = Ask {
            frame,
            question: self,
            error: None,
        };
        show(StatusCode::OK, &asked)
    }

    /// Shows the confirmation page again, with an error.
    pub(super) fn ask_again(self, page: &'static str, error: &ApiError) -> Response {
        let asked = Ask {
            frame: Frame::new(page),
            question: self,
            error: Some(error.message()),
        };
        show(error.status(), &asked)
    }
}

/// Shows an error instead of the page.
pub(super) fn trouble(page: &'static str, error: impl Into<ApiError>) -> Response {
    let error = error.into();
    let shown = Trouble {
        frame: Frame::new(page),
        error: error.message(),
    };
    show(error.status(), &shown)
}
