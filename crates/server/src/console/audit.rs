//! Who has changed what.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use license_console::id::short;
use license_console::moment::Moment;
use license_console::page::show;
use serde::Deserialize;

use super::frame::{Frame, trouble};
use crate::app::App;
use crate::http::admin::jsonl;
use crate::store::audit_log::{self, Filter};

/// Entries on one page.
const ROWS: usize = 50;

/// An entry as a page shows it.
pub(super) struct Entry {
    pub(super) at: Moment,
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) license_id: Option<String>,
    pub(super) subject: String,
    pub(super) details: String,
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    before: Option<i32>,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    entries: Vec<Entry>,
    /// Whether this is not the newest page.
    is_older: bool,
    older: Option<i32>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let before = wanted
        .map(|Query(wanted)| wanted)
        .unwrap_or_default()
        .before;
    let filter = Filter {
        before,
        ..Filter::default()
    };
    let most = ROWS as u64 + 1;
    let mut entries = match audit_log::newest(app.store.reader(), &filter, most).await {
        Ok(entries) => entries,
        Err(error) => return trouble("audit", error),
    };
    let more = entries.len() > ROWS;
    entries.truncate(ROWS);
    let page = Page {
        frame: Frame::new("audit"),
        is_older: before.is_some(),
        older: entries.last().filter(|_| more).map(|last| last.number),
        entries: entries.into_iter().map(entry).collect(),
    };
    show(StatusCode::OK, &page)
}

pub(super) async fn export(State(app): State<Arc<App>>) -> Response {
    jsonl(app)
}

pub(super) fn entry(entry: audit_log::Entry) -> Entry {
    let details = entry.details.as_ref().and_then(|it| it.as_object());
    let details = details
        .into_iter()
        .flatten()
        .filter(|(_, it)| !it.is_null());
    let details: Vec<String> = details
        .map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name}: {text}"),
            None => format!("{name}: {value}"),
        })
        .collect();
    Entry {
        at: Moment::of(entry.at),
        actor: entry.actor,
        action: entry.action,
        license_id: entry.license_id,
        subject: short(&entry.subject),
        details: details.join(", "),
    }
}
