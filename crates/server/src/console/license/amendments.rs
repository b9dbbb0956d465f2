//! The amendments of a license in words: the newest on its page, and all of them on pages of their
//! own.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use license_console::moment::Moment;
use license_console::page::show;
use license_core::amendment::{Amendment, undone};
use serde::Deserialize;

use crate::app::App;
use crate::console::filters::unreadable;
use crate::console::frame::{Frame, trouble};
use crate::http::error::ApiError;
use crate::licensing::amendment_words::{History, Told};
use crate::licensing::current::with_history;
use crate::licensing::day_words::first_day;
use crate::licensing::evaluation::in_turn;
use crate::licensing::look_up::look_up;
use crate::store::licenses::{License, Status};

/// Amendments on a page.
const ROWS: usize = 50;

/// An amendment in the history.
pub(super) struct ToldAmendment {
    pub(super) number: u32,
    pub(super) recorded: Moment,
    pub(super) sentence: String,
    pub(super) reason: Option<String>,
    /// When it takes effect, if that is later.
    pub(super) from: Option<String>,
    pub(super) is_undone: bool,
    /// Whether staff can undo it.
    pub(super) can_be_undone: bool,
}

/// The newest amendments with numbers below `before`, at most `most`.
pub(super) fn newest(
    told: &Told<'_>,
    license: &License,
    before: u32,
    most: usize,
    now: DateTime<Utc>,
) -> Vec<ToldAmendment> {
    let undone = undone(told.amendments(), DateTime::<Utc>::MAX_UTC);
    let newest = told.amendments().iter().rev();
    let newest = newest.filter(|it| it.number < before).take(most);
    let newest: Vec<&Amendment> = newest.collect();
    let sentences = told.sentences(&newest).into_iter();
    let told = newest.iter().zip(sentences);
    told.map(|(it, sentence)| of(it, sentence, license, &undone, now))
        .collect()
}

fn of(
    amendment: &Amendment,
    sentence: String,
    license: &License,
    undone: &BTreeSet<u32>,
    now: DateTime<Utc>,
) -> ToldAmendment {
    let is_undone = undone.contains(&amendment.number);
    let is_later = now < amendment.effective_at;
    ToldAmendment {
        number: amendment.number,
        recorded: Moment::of(amendment.recorded_at),
        sentence,
        reason: amendment.reason.clone(),
        from: is_later.then(|| first_day(amendment.effective_at)),
        is_undone,
        can_be_undone: 1 < amendment.number && !is_undone && license.status != Status::Revoked,
    }
}

#[derive(Template)]
#[template(path = "amendments.html")]
struct AmendmentsPage {
    frame: Frame,
    license: License,
    amendments: Vec<ToldAmendment>,
    /// Whether this is not the first page.
    is_older: bool,
    older: Option<u32>,
}

#[derive(Default, Deserialize)]
pub(in crate::console) struct AmendmentsQuery {
    #[serde(default)]
    before: Option<u32>,
}

pub(in crate::console) async fn page(
    State(app): State<Arc<App>>,
    Path(license): Path<String>,
    wanted: Result<Query<AmendmentsQuery>, QueryRejection>,
) -> Response {
    let before = match wanted {
        Ok(Query(wanted)) => wanted.before,
        Err(error) => return trouble("licenses", unreadable(&error)),
    };
    match load(&app, &license, before).await {
        Ok(page) => show(StatusCode::OK, &page),
        Err(error) => trouble("licenses", error),
    }
}

async fn load(app: &App, license: &str, before: Option<u32>) -> Result<AmendmentsPage, ApiError> {
    let (db, now) = (app.store.reader(), app.clock.now());
    let license = look_up(&app.store, license).await?;
    let telling = async {
        let (license, amendments) = with_history(db, license, now).await?;
        let history = History::read(db, amendments).await?;
        let of = license.clone();
        let told = move |told: Told<'_>| newest(&told, &of, before.unwrap_or(u32::MAX), ROWS, now);
        Ok::<_, ApiError>((license, history.told(&app.store, told).await?))
    };
    let (license, amendments) = in_turn(&app.store, telling).await?;
    let last = amendments.last().map(|it| it.number);
    Ok(AmendmentsPage {
        frame: Frame::new("licenses"),
        is_older: before.is_some(),
        older: last.filter(|last| 1 < *last),
        amendments,
        license,
    })
}
