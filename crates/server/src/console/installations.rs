//! Installations, with filters.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use license_console::gauge::Gauge;
use license_console::moment::{Moment, ago};
use license_console::page::show;
use serde::Deserialize;

use super::exports::file;
use super::filters::{check_box, page_number, unknown, unreadable};
use super::frame::{Frame, trouble};
use super::gauges::gauges;
use super::pager::{Pager, left};
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::staff_stream::StaffStream;
use crate::licensing::exports::InstallationsExport;
use crate::licensing::fleet::{Filter, Member, Survey};
use crate::licensing::item_words::ItemNames;
use crate::licensing::seen_standing::Seen;
use crate::store::StoreError;
use crate::store::installations::Window;
use crate::store::page::{PageStart, SortOrder};

/// The filters in the address. A missing filter includes everything; an invalid one is
/// shown as an error.
#[derive(Default, Deserialize)]
pub(super) struct InstallationsQuery {
    #[serde(default)]
    standing: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    over_limit: String,
    #[serde(default)]
    suspected: String,
    #[serde(default)]
    order: String,
    #[serde(default)]
    page: String,
}

#[derive(Template)]
#[template(path = "installations.html")]
struct InstallationsPage {
    frame: Frame,
    wanted: InstallationsQuery,
    standings: [Seen; 4],
    rows: Vec<Row>,
    pager: Pager,
    /// Why the address is invalid.
    error: Option<String>,
}

struct Row {
    name: String,
    license_id: String,
    customer: String,
    version: String,
    standing: &'static str,
    seen: Moment,
    ago: String,
    gauges: Vec<Gauge>,
    over_limit: bool,
    suspected: bool,
}

impl InstallationsQuery {
    fn order(&self) -> Result<SortOrder, ApiError> {
        match &*self.order {
            "" | "desc" => Ok(SortOrder::Desc),
            "asc" => Ok(SortOrder::Asc),
            text => Err(unknown("order", text, "asc or desc")),
        }
    }

    fn filter(&self) -> Result<Filter, ApiError> {
        let standing = match &*self.standing {
            "" => None,
            text => {
                let mut all = Seen::ALL.into_iter();
                let expected = "active, grace, silent or stopped";
                let found = all.find(|seen| seen.as_str() == text);
                Some(found.ok_or_else(|| unknown("standing", text, expected))?)
            }
        };
        Ok(Filter {
            standing,
            version: Some(self.version.clone()).filter(|version| !version.is_empty()),
            over_limit: check_box("over_limit", &self.over_limit)?.then_some(true),
            suspected: check_box("suspected", &self.suspected)?.then_some(true),
        })
    }
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    State(survey): State<Arc<Survey>>,
    wanted: Result<Query<InstallationsQuery>, QueryRejection>,
) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return trouble("installations", unreadable(&error)),
    };
    let filters = wanted.filter();
    let filters =
        filters.and_then(|filter| Ok((filter, wanted.order()?, page_number(&wanted.page)?)));
    let (filter, order, number) = match filters {
        Ok(filters) => filters,
        Err(error) => {
            let page = InstallationsPage {
                frame: Frame::new("installations"),
                standings: Seen::ALL,
                rows: Vec::new(),
                pager: Pager::new(1, 0, &[]),
                error: Some(error.message()),
                wanted,
            };
            return show(error.status(), &page);
        }
    };
    let (rows, total) = match rows(&app, &survey, &filter, order, number).await {
        Ok(found) => found,
        Err(error) => return trouble("installations", ApiError::from(error)),
    };
    let pager = Pager::new(
        number,
        total,
        &[
            ("standing", &wanted.standing),
            ("version", &wanted.version),
            ("over_limit", &wanted.over_limit),
            ("suspected", &wanted.suspected),
            ("order", &wanted.order),
        ],
    );
    let page = InstallationsPage {
        frame: Frame::new("installations"),
        standings: Seen::ALL,
        rows,
        pager,
        error: None,
        wanted,
    };
    show(StatusCode::OK, &page)
}

/// The rows of a page, and how many installations match.
async fn rows(
    app: &App,
    survey: &Survey,
    filter: &Filter,
    order: SortOrder,
    number: u64,
) -> Result<(Vec<Row>, u64), StoreError> {
    let items = ItemNames::read(app.store.reader()).await?;
    let now = app.clock.now();
    let mut start = PageStart::Offset(Pager::offset(number));
    let (mut rows, mut all) = (Vec::new(), 0);
    while let Some(limit) = left(rows.len()) {
        let window = Window { start, limit };
        let (found, total) = survey.installations(app, filter, order, window).await?;
        all = total;
        let last = found.last_of_more();
        let last = last.map(|last| last.installation.cursor(order));
        rows.extend(found.rows.into_iter().map(|it| row(it, &items, now)));
        match last {
            Some(last) => start = PageStart::After(last),
            None => break,
        }
    }
    Ok((rows, all))
}

/// The matching installations on all pages, as a file.
pub(super) async fn export(
    State(app): State<Arc<App>>,
    stream: StaffStream,
    wanted: Result<Query<InstallationsQuery>, QueryRejection>,
) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return trouble("installations", unreadable(&error)),
    };
    let now = app.clock.now();
    match wanted.filter() {
        Ok(filter) => {
            file(
                stream,
                "installations",
                InstallationsExport::new(filter, now),
            )
            .await
        }
        Err(error) => trouble("installations", error),
    }
}

fn row(member: Member, items: &ItemNames, now: DateTime<Utc>) -> Row {
    let it = member.installation;
    Row {
        gauges: gauges(&it.usage, it.counts.keys(), |key| it.granted(key), items),
        name: it.installation_name,
        license_id: it.license_id,
        customer: it.customer,
        version: it.installation_version,
        standing: member.seen.as_str(),
        seen: Moment::of(it.last_seen_at),
        ago: ago(now - it.last_seen_at),
        over_limit: member.over_limit,
        suspected: member.suspected,
    }
}
