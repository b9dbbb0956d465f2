//! The audit log: who changed what.

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
use serde_json::Value;
use uuid::Uuid;

use super::filters::unreadable;
use super::frame::{Frame, trouble};
use crate::app::App;
use crate::http::admin::jsonl;
use crate::http::staff_stream::StaffStream;
use crate::store::audit_log::{self, Filter, newest_page};

/// Entries per page.
const ROWS: u64 = 50;

/// An entry as shown on the page.
pub(super) struct Entry {
    pub(super) at: Moment,
    pub(super) actor: String,
    pub(super) source: Option<String>,
    pub(super) action: String,
    pub(super) license_id: Option<String>,
    pub(super) subject: String,
    pub(super) details: String,
}

#[derive(Default, Deserialize)]
pub(super) struct AuditQuery {
    #[serde(default)]
    before: Option<i64>,
    /// The id of the license, if only its entries are shown.
    #[serde(default)]
    license: Option<Uuid>,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    entries: Vec<Entry>,
    /// The license whose entries are shown.
    license: Option<String>,
    /// Whether this is not the first page.
    is_older: bool,
    older: Option<i64>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    wanted: Result<Query<AuditQuery>, QueryRejection>,
) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return trouble("audit", unreadable(&error)),
    };
    let license = wanted.license.map(|id| id.to_string());
    let filter = Filter {
        before: wanted.before,
        license_id: license.clone(),
        ..Filter::default()
    };
    let entries = match newest_page(app.store.reader(), &filter, ROWS).await {
        Ok(found) => found,
        Err(error) => return trouble("audit", error),
    };
    let page = AuditPage {
        frame: Frame::new("audit"),
        is_older: wanted.before.is_some(),
        license,
        older: entries.last_of_more().map(|last| last.number),
        entries: entries.rows.into_iter().map(entry).collect(),
    };
    show(StatusCode::OK, &page)
}

pub(super) async fn export(stream: StaffStream) -> Response {
    match jsonl(stream).await {
        Ok(file) => file,
        Err(error) => trouble("audit", error),
    }
}

pub(super) fn entry(entry: audit_log::Entry) -> Entry {
    let details = entry.details.as_ref().and_then(Value::as_object);
    let details: Vec<String> = details
        .into_iter()
        .flatten()
        .map(|(name, value)| match value {
            Value::Null => format!("{name}: –"),
            Value::String(text) => format!("{name}: {text}"),
            other => format!("{name}: {other}"),
        })
        .collect();
    Entry {
        at: Moment::of(entry.at),
        actor: entry.actor,
        source: entry.source,
        action: entry.action,
        license_id: entry.license_id,
        subject: short(&entry.subject),
        details: details.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::Iterable as _;

    use super::*;
    use crate::audit::Action;

    #[derive(Template)]
    #[template(
        source = r#"{% import "history.html" as log %}{% call log::action(code) %}{% endcall %}"#,
        ext = "html"
    )]
    struct Text {
        code: &'static str,
    }

    #[test]
    fn every_action_has_a_text() {
        for action in Action::iter() {
            let code = action.as_str();
            let text = Text { code }.render().unwrap();
            assert_ne!(text.trim(), code, "the action has no text");
        }
    }
}
