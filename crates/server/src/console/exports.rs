//! Files for spreadsheets that belong to no list of the console.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use chrono::TimeDelta;
use serde::Deserialize;
use uuid::Uuid;

use super::filters::unreadable;
use super::frame::trouble;
use crate::app::App;
use crate::http::admin::csv;
use crate::http::staff_stream::StaffStream;
use crate::licensing::exports::{AmendmentsExport, CsvPieces, Export, UsageExport};
use crate::licensing::history::KEPT_DAYS;

/// The license, if only its rows are exported.
#[derive(Default, Deserialize)]
pub(super) struct OfLicense {
    #[serde(default)]
    license: Option<Uuid>,
}

/// The daily usage of each machine, for as long as it is kept.
pub(super) async fn usage(
    State(app): State<Arc<App>>,
    stream: StaffStream,
    wanted: Result<Query<OfLicense>, QueryRejection>,
) -> Response {
    let since = app.clock.now().date_naive() - TimeDelta::days(i64::from(KEPT_DAYS) - 1);
    match wanted {
        Ok(Query(wanted)) => {
            let license = wanted.license.map(|id| id.to_string());
            file(stream, "licenses", UsageExport::new(license, since)).await
        }
        Err(error) => trouble("licenses", unreadable(&error)),
    }
}

/// All amendments.
pub(super) async fn amendments(
    stream: StaffStream,
    wanted: Result<Query<OfLicense>, QueryRejection>,
) -> Response {
    match wanted {
        Ok(Query(wanted)) => {
            let license = wanted.license.map(|id| id.to_string());
            file(stream, "licenses", AmendmentsExport::new(license)).await
        }
        Err(error) => trouble("licenses", unreadable(&error)),
    }
}

/// A file for spreadsheets, or a page that says why there is none.
pub(super) async fn file<E: Export + 'static>(
    stream: StaffStream,
    section: &'static str,
    export: E,
) -> Response {
    match csv(stream, CsvPieces::with_mark(export)).await {
        Ok(file) => file,
        Err(error) => trouble(section, error),
    }
}
