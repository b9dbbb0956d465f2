//! Activation by key. A key that would replace another license is activated after a question, which
//! tells what the site gains and loses.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use license_console::moment::Moment;
use license_core::license_key::{LicenseKey, MAX_KEY_CHARS, mask, normalize};
use license_core::replacement::{Amount, Difference};
use license_service::unattended::finish_even_if_disconnected;
use serde::Deserialize;

use license_console::page::show;

use super::frame::{Done, Frame};
use crate::app::App;
use crate::http::access::Caller;
use crate::http::error::ApiError;
use crate::licensing;
use crate::licensing::replace::{FormerSeat, Preview, PreviewError, preview, replaces};

/// Maximum number of differences on the page.
const MAX_SHOWN_DIFFERENCES: usize = 200;

#[derive(Template)]
#[template(path = "activate.html")]
struct Activate {
    frame: Frame,
    key: String,
    error: Option<String>,
}

/// The question whether to replace the license.
#[derive(Template)]
#[template(path = "replace.html")]
struct Replace {
    frame: Frame,
    /// The key that was entered.
    key: String,
    /// The same for people, and that of the license that is active.
    masked: String,
    present: String,
    /// Why it is not known what changes.
    unknown: Option<String>,
    losses: Vec<Change>,
    gains: Vec<Change>,
    /// How many more there are.
    hidden: usize,
}

struct Change {
    key: String,
    before: String,
    after: String,
}

#[derive(Deserialize)]
pub(super) struct ActivateForm {
    #[serde(default)]
    key: String,
    /// Replace another license.
    #[serde(default)]
    replace: bool,
    /// Free the seat of that license.
    #[serde(default)]
    give_back: bool,
}

/// The license key that was typed or pasted.
///
/// # Errors
/// Why the text cannot be a license key.
pub(super) fn typed(text: &str) -> Result<String, String> {
    let key = normalize(text);
    if !key.is_empty() && key.chars().count() <= MAX_KEY_CHARS {
        return Ok(text.to_owned());
    }
    let why = LicenseKey::parse(text).err();
    let why = why.map(|error| error.to_string()).unwrap_or_default();
    Err(format!("This is not a license key: {why}."))
}

pub(super) async fn page(State(app): State<Arc<App>>, caller: Caller) -> Response {
    let page = Activate {
        frame: Frame::new("activate", &app, caller),
        key: String::new(),
        error: None,
    };
    show(StatusCode::OK, &page)
}

pub(super) async fn activate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Form(given): Form<ActivateForm>,
) -> Response {
    let refused = |status, error: String| {
        let page = Activate {
            frame: Frame::new("activate", &app, caller),
            key: given.key.clone(),
            error: Some(error),
        };
        show(status, &page)
    };
    let key = match typed(&given.key) {
        Ok(key) => key,
        Err(why) => return refused(StatusCode::UNPROCESSABLE_ENTITY, why),
    };
    if !given.replace && replaces(&app, &key) {
        return match preview(&app, &key).await {
            Err(error @ (PreviewError::Key(_) | PreviewError::Refused(_))) => {
                refused(StatusCode::BAD_REQUEST, error.to_string())
            }
            found => show(StatusCode::OK, &Replace::of(&app, caller, key, found)),
        };
    }
    let (activating, give_back) = (app.clone(), given.give_back);
    let activated = finish_even_if_disconnected(async move {
        licensing::activate::activate_instead(&activating, &key, give_back).await
    })
    .await;
    match activated
        .map_err(ApiError::from)
        .and_then(|activated| activated.map_err(ApiError::from))
    {
        Ok(activated) => match activated.former_seat {
            None => Done::Activated.redirect(),
            Some(FormerSeat::Kept(_)) => Done::ReplacedHereOnly.redirect(),
            Some(FormerSeat::Freed | FormerSeat::NotHeld) => Done::Replaced.redirect(),
        },
        Err(error) => refused(error.status(), error.detail()),
    }
}

impl Replace {
    fn of(app: &App, caller: Caller, key: String, found: Result<Preview, PreviewError>) -> Self {
        let (unknown, differences) = match found {
            Ok(preview) => (None, preview.differences),
            Err(error) => (Some(error.to_string()), Vec::new()),
        };
        let hidden = differences.len().saturating_sub(MAX_SHOWN_DIFFERENCES);
        let shown = differences.into_iter().take(MAX_SHOWN_DIFFERENCES);
        let (losses, gains): (Vec<_>, Vec<_>) = shown.partition(Difference::is_loss);
        Self {
            frame: Frame::new("activate", app, caller),
            masked: mask(&normalize(&key)),
            present: mask(app.snapshot().evidence.license_key()),
            key,
            unknown,
            losses: losses.into_iter().map(Change::from).collect(),
            gains: gains.into_iter().map(Change::from).collect(),
            hidden,
        }
    }
}

impl From<Difference> for Change {
    fn from(difference: Difference) -> Self {
        let text = |amount: Amount| match amount {
            Amount::Feature(true) => "on".to_owned(),
            Amount::Feature(false) => "off".to_owned(),
            Amount::Limit(number) => number.to_string(),
            Amount::Unlimited => "unlimited".to_owned(),
            Amount::End(at) => Moment::of(at).text,
            Amount::Never => "never".to_owned(),
        };
        Self {
            before: text(difference.before),
            after: text(difference.after),
            key: difference.key,
        }
    }
}
