//! Contact with the License Server in the last thirty days, as a plot.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use plotters::prelude::{
    ChartBuilder, Color as _, IntoDrawingArea as _, RGBColor, Rectangle, SVGBackend, ShapeStyle,
};
use plotters::style::IntoFont as _;

use super::moment::Moment;
use crate::app::App;
use crate::store::local_license_validation_attempts::{LoggedAttempt, since};

const DAYS: usize = 30;
/// Failures that are listed.
const LISTED: usize = 5;
/// What is drawn in these takes the page's colours: see [`plot`].
const INK: RGBColor = RGBColor(1, 1, 1);
const LINE: RGBColor = RGBColor(2, 2, 2);
const GOOD: RGBColor = RGBColor(47, 158, 101);
const WAIT: RGBColor = RGBColor(217, 138, 29);
const BAD: RGBColor = RGBColor(210, 73, 78);

/// What has come of calls to the License Server.
pub(super) struct Timeline {
    /// SVG.
    pub(super) plot: String,
    pub(super) confirmed: u32,
    pub(super) lost: u32,
    pub(super) denied: u32,
    pub(super) failures: Vec<Failure>,
}

/// A call that was not confirmed.
pub(super) struct Failure {
    pub(super) at: Moment,
    pub(super) result: String,
    pub(super) cause: String,
}

/// What came of the calls of one day.
#[derive(Clone, Copy, Default)]
struct Day {
    confirmed: u32,
    lost: u32,
    denied: u32,
}

/// `None` when the log cannot be read.
pub(super) async fn timeline(app: &App, now: DateTime<Utc>) -> Option<Timeline> {
    let from = now - TimeDelta::days(DAYS as i64);
    let db = app.store.db();
    let attempts = app.store.within(since(&db, from)).await.ok()?;
    let today = now.date_naive();
    let mut days = [Day::default(); DAYS];
    for attempt in &attempts {
        let at = attempt.attempted_at.map(|at| at.date_naive());
        let Some(day) =
            at.and_then(|at| days.get_mut(usize::try_from((today - at).num_days()).ok()?))
        else {
            continue;
        };
        match attempt.result.as_str() {
            "success" => day.confirmed += 1,
            "denied" => day.denied += 1,
            _ => day.lost += 1,
        }
    }
    days.reverse();
    let sum = |of: fn(&Day) -> u32| days.iter().map(of).sum();
    let failures = attempts.iter().filter(|it| it.result != "success");
    Some(Timeline {
        plot: plot(&days, today),
        confirmed: sum(|day| day.confirmed),
        lost: sum(|day| day.lost),
        denied: sum(|day| day.denied),
        failures: failures.take(LISTED).filter_map(failure).collect(),
    })
}

fn failure(attempt: &LoggedAttempt) -> Option<Failure> {
    Some(Failure {
        at: Moment::of(attempt.attempted_at?),
        result: attempt.result.clone(),
        cause: attempt.error_message.clone().unwrap_or_default(),
    })
}

/// Bars, one for each day. What cannot be drawn is an empty text: the figures
/// stand beside it.
fn plot(days: &[Day], today: NaiveDate) -> String {
    let mut svg = String::new();
    if draw(&mut svg, days, today).is_err() {
        return String::new();
    }
    let summary = "Calls to the License Server on each of the last 30 days";
    svg.replacen(
        "<svg ",
        &format!("<svg role=\"img\" aria-label=\"{summary}\" "),
        1,
    )
    .replace("#010101", "currentColor")
    .replace(
        "fill=\"#020202\"",
        "fill=\"currentColor\" fill-opacity=\"0.2\"",
    )
    .replace(
        "stroke=\"#020202\"",
        "stroke=\"currentColor\" stroke-opacity=\"0.25\"",
    )
}

fn draw(
    svg: &mut String,
    days: &[Day],
    today: NaiveDate,
) -> Result<(), Box<dyn std::error::Error>> {
    let most = days.iter().map(|day| day.confirmed + day.lost + day.denied);
    let most = most.max().unwrap_or_default().max(4);
    let area = SVGBackend::with_string(svg, (1000, 200)).into_drawing_area();
    let count = i32::try_from(days.len())?;
    let mut chart = ChartBuilder::on(&area)
        .margin(6)
        .margin_right(24)
        .x_label_area_size(26)
        .y_label_area_size(44)
        .build_cartesian_2d(0..count, 0..most + most / 8)?;
    let day = |index: &i32| {
        let back = u64::try_from(count - 1 - index).unwrap_or_default();
        let day = today.checked_sub_days(Days::new(back)).unwrap_or(today);
        day.format("%-d %b").to_string()
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(LINE.mix(0.0))
        .bold_line_style(LINE)
        .axis_style(LINE)
        .x_labels(6)
        .y_labels(4)
        .x_label_formatter(&day)
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    for (index, day) in (0..).zip(days) {
        let mut from = 0;
        for (height, color) in [(day.confirmed, GOOD), (day.lost, WAIT), (day.denied, BAD)] {
            let style: ShapeStyle = color.filled();
            let mut bar = Rectangle::new([(index, from), (index + 1, from + height)], style);
            bar.set_margin(0, 0, 3, 3);
            chart.draw_series([bar])?;
            from += height;
        }
    }
    area.present()?;
    Ok(())
}
