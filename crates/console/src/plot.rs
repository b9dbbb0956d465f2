//! Plots as SVG, in the colors of the page.

mod timeline;

use chrono::{DateTime, Days, NaiveDate, Utc};
use plotters::coord::Shift;
use plotters::coord::types::{RangedCoordi64, RangedCoordu64};
use plotters::prelude::{
    Cartesian2d, ChartBuilder, ChartContext, Color as _, DrawingArea, IntoDrawingArea as _,
    LineSeries, RGBColor, Rectangle, SVGBackend, ShapeStyle,
};
use plotters::style::IntoFont as _;

pub use timeline::{Lane, MAX_LANES, timeline};

/// These colors are replaced with those of the page: see [`finish`].
const INK: RGBColor = RGBColor(1, 1, 1);
const LINE: RGBColor = RGBColor(2, 2, 2);

type Failure = Box<dyn std::error::Error>;

/// The meaning of a color.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Normal.
    Good,
    /// Needs attention.
    Wait,
    /// Faulty.
    Bad,
    /// Neutral.
    Plain,
}

/// One day or one hour: the amount of each tone, from the bottom up.
pub type Bar = Vec<(Tone, u64)>;

/// A bar chart with one bar per day; the last one is `today`. Returns an empty text if
/// drawing fails: the figures are also shown next to the plot.
#[must_use]
pub fn daily(summary: &str, today: NaiveDate, bars: &[Bar]) -> String {
    finish(summary, |svg| draw_bars(svg, today, bars))
}

/// A line chart with the limit.
#[must_use]
pub fn line(summary: &str, points: &[(DateTime<Utc>, u64)], limit: Option<u64>) -> String {
    finish(summary, |svg| draw_line(svg, points, limit))
}

fn finish(summary: &str, draw: impl FnOnce(&mut String) -> Result<(), Failure>) -> String {
    let mut svg = String::new();
    if draw(&mut svg).is_err() {
        return String::new();
    }
    let label = format!("<svg role=\"img\" aria-label=\"{summary}\" ");
    svg.replacen("<svg ", &label, 1)
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

/// The full width of a page.
const WIDE: (u32, u32) = (1000, 200);
/// Half the width of a page, with text of the same size.
const HALF: (u32, u32) = (520, 150);

fn area(svg: &mut String, size: (u32, u32)) -> DrawingArea<SVGBackend<'_>, Shift> {
    SVGBackend::with_string(svg, size).into_drawing_area()
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordi64, RangedCoordu64>>;

fn axes(
    chart: &mut Chart<'_, '_>,
    labels: usize,
    day: &dyn Fn(&i64) -> String,
) -> Result<(), Failure> {
    let letters = ("sans-serif", 13).into_font().color(&INK);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(LINE.mix(0.0))
        .bold_line_style(LINE)
        .axis_style(LINE)
        .x_labels(labels)
        .y_labels(4)
        .x_label_formatter(day)
        .label_style(letters)
        .draw()?;
    Ok(())
}

fn draw_bars(svg: &mut String, today: NaiveDate, bars: &[Bar]) -> Result<(), Failure> {
    let heights = bars
        .iter()
        .map(|bar| bar.iter().map(|(_, height)| height).sum::<u64>());
    let most = heights.max().unwrap_or_default().max(4);
    let area = area(svg, WIDE);
    let count = i64::try_from(bars.len())?;
    let mut chart = ChartBuilder::on(&area)
        .margin(6)
        .margin_right(24)
        .x_label_area_size(26)
        .y_label_area_size(60)
        .build_cartesian_2d(0..count, 0..most + most / 8)?;
    let day = |index: &i64| {
        let back = u64::try_from(count - 1 - index).unwrap_or_default();
        let day = today.checked_sub_days(Days::new(back)).unwrap_or(today);
        day.format("%-d %b").to_string()
    };
    axes(&mut chart, 6, &day)?;
    for (index, bar) in (0..).zip(bars) {
        let mut from = 0;
        for (tone, height) in bar {
            let style: ShapeStyle = tone.color().filled();
            let mut bar = Rectangle::new([(index, from), (index + 1, from + height)], style);
            bar.set_margin(0, 0, 3, 3);
            chart.draw_series([bar])?;
            from += height;
        }
    }
    area.present()?;
    Ok(())
}

fn draw_line(
    svg: &mut String,
    points: &[(DateTime<Utc>, u64)],
    limit: Option<u64>,
) -> Result<(), Failure> {
    let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else {
        return Err("nothing to draw".into());
    };
    let (first, last) = (
        first.timestamp(),
        last.timestamp().max(first.timestamp() + 1),
    );
    let most = points.iter().map(|(_, value)| *value).chain(limit).max();
    let most = most.unwrap_or_default().max(4);
    let area = area(svg, HALF);
    let mut chart = ChartBuilder::on(&area)
        .margin(6)
        .margin_right(24)
        .x_label_area_size(26)
        .y_label_area_size(60)
        .build_cartesian_2d(first..last, 0..most + most / 8)?;
    let day = |at: &i64| {
        let at = DateTime::from_timestamp(*at, 0).unwrap_or_default();
        at.format("%-d %b").to_string()
    };
    axes(&mut chart, 4, &day)?;
    let thick = |tone: Tone| ShapeStyle::from(tone.color()).stroke_width(2);
    if let Some(limit) = limit {
        chart.draw_series(LineSeries::new(
            [(first, limit), (last, limit)],
            ShapeStyle::from(Tone::Bad.color()).stroke_width(2),
        ))?;
    }
    let points = points.iter().map(|(at, value)| (at.timestamp(), *value));
    chart.draw_series(LineSeries::new(points, thick(Tone::Plain)).point_size(2))?;
    area.present()?;
    Ok(())
}

impl Tone {
    /// The `--plot-…` variables of the style sheet, which also color the legend of a plot.
    fn color(self) -> RGBColor {
        match self {
            Self::Good => RGBColor(47, 158, 101),
            Self::Wait => RGBColor(217, 138, 29),
            Self::Bad => RGBColor(210, 73, 78),
            Self::Plain => RGBColor(59, 125, 221),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_use_the_colours_of_the_page_and_have_a_description() {
        let today = NaiveDate::from_ymd_opt(2026, 11, 26).unwrap();
        let bars = vec![vec![(Tone::Good, 3), (Tone::Bad, 1)]; 30];
        let svg = daily("Calls", today, &bars);
        assert!(
            svg.starts_with("<svg role=\"img\" aria-label=\"Calls\""),
            "{svg}"
        );
        assert!(svg.contains("26 Nov") && svg.contains("currentColor"));
        assert!(!svg.contains("#010101") && !svg.contains("style="));
        let at = DateTime::<Utc>::UNIX_EPOCH;
        assert!(line("Cameras", &[(at, u64::MAX / 4)], Some(7)).contains("polyline"));
        assert_eq!(line("Cameras", &[], None), "");
        assert_eq!(daily("Calls", today, &[]).matches("<rect").count(), 0);
    }
}
