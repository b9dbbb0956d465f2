//! The layout of every page, and the message after a change.

use axum::response::{IntoResponse, Redirect, Response};
use license_console::page::Notice;

use crate::app::App;
use crate::http::access::Caller;

/// The layout of every page.
pub(super) struct Frame {
    pub(super) page: &'static str,
    pub(super) installation: String,
    /// Whether the caller may make changes …
    pub(super) trusted: bool,
    /// … because the browser has a session.
    pub(super) signed_in: bool,
    pub(super) notice: Option<Notice>,
}

/// The change that was made, as it appears in the address after a redirect.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Done {
    Activated,
    Replaced,
    ReplacedHereOnly,
    Deactivated,
    DeactivatedHereOnly,
    Redeemed,
    TrialStarted,
    RedeemedLater,
    Imported,
    Denied,
    GivenUp,
    Switched,
    SignedIn,
    /// The browser sent no session after signing in.
    NoSession,
    SignedOut,
}

/// The codes that an address may contain.
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
        // A browser that did not keep the cookie is not signed in.
        let done = done.map(|done| match done {
            Done::SignedIn if !self.signed_in => Done::NoSession,
            done => done,
        });
        self.notice = done.map(Done::notice);
        self
    }
}

impl Done {
    fn notice(self) -> Notice {
        let (tone, code) = match self {
            Self::Activated => ("good", "activated"),
            Self::Replaced => ("good", "replaced"),
            Self::ReplacedHereOnly => ("wait", "replaced-here-only"),
            Self::Deactivated => ("good", "deactivated"),
            Self::DeactivatedHereOnly => ("wait", "deactivated-here-only"),
            Self::Redeemed => ("good", "redeemed"),
            Self::TrialStarted => ("good", "trial-started"),
            Self::RedeemedLater => ("wait", "redeemed-later"),
            Self::Imported => ("good", "imported"),
            Self::Denied => ("bad", "denied"),
            Self::GivenUp => ("good", "given-up"),
            Self::Switched => ("good", "switched"),
            Self::SignedIn => ("good", "signed-in"),
            Self::NoSession => ("bad", "no-session"),
            Self::SignedOut => ("good", "signed-out"),
        };
        Notice { tone, code }
    }

    /// Redirects to the overview, which shows the message.
    pub(super) fn redirect(self) -> Response {
        Redirect::to(&format!("/?done={}", self.notice().code)).into_response()
    }
}
