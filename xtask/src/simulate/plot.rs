//! The calls per second over time as SVG: one line for each outage.

use std::collections::BTreeMap;

use plotters::prelude::{
    ChartBuilder, IntoDrawingArea as _, IntoFont as _, LineSeries, PathElement, RGBColor,
    SVGBackend, ShapeStyle, WHITE,
};

use super::results::{MAX_RATIO, Results};

const SIZE: (u32, u32) = (1000, 420);
const INK: RGBColor = RGBColor(60, 60, 60);
const GRID: RGBColor = RGBColor(225, 225, 225);
const TARGET: RGBColor = RGBColor(210, 73, 78);
const LINES: [RGBColor; 4] = [
    RGBColor(59, 125, 221),
    RGBColor(47, 158, 101),
    RGBColor(217, 138, 29),
    RGBColor(130, 88, 180),
];

type Failure = Box<dyn std::error::Error>;
type Curve = Vec<(f64, f64)>;

/// The plot.
pub(super) fn plot(results: &Results) -> Result<String, Failure> {
    let curves: Vec<(u16, Curve)> = results
        .plan
        .outages
        .iter()
        .map(|outage| (*outage, median_curve(results, *outage)))
        .collect();
    let steady = median(results.fleets.iter().map(|it| it.rates.steady).collect());
    let mut svg = String::new();
    draw(&mut svg, &curves, steady)?;
    Ok(svg + "\n")
}

/// The median of the seeds, at each time.
fn median_curve(results: &Results, outage: u16) -> Curve {
    let mut rates: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    let fleets = results.fleets.iter();
    for fleet in fleets.filter(|it| it.outage_hours == outage) {
        for (hours, rate) in &fleet.curve {
            rates
                .entry((hours * 3600.0).round() as i64)
                .or_default()
                .push(*rate);
        }
    }
    let point = |(at, rates): (i64, Vec<f64>)| (at as f64 / 3600.0, median(rates));
    rates.into_iter().map(point).collect()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

fn draw(svg: &mut String, curves: &[(u16, Curve)], steady: f64) -> Result<(), Failure> {
    let points = || curves.iter().flat_map(|(_, curve)| curve);
    let first = points().map(|(hours, _)| *hours).fold(0.0, f64::min);
    let last = points().map(|(hours, _)| *hours).fold(1.0, f64::max);
    let target = MAX_RATIO * steady;
    let highest = points().map(|(_, rate)| *rate).fold(target, f64::max);
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .margin_right(24)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(first..last, 0.0..highest * 1.08)?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_labels(14)
        .y_labels(8)
        .x_desc("hours after the end of the outage")
        .y_desc("calls per second")
        .x_label_formatter(&|hours| format!("{hours:.0}"))
        .y_label_formatter(&|rate| format!("{rate:.0}"))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    let ends = |rate: f64| [(first, rate), (last, rate)];
    let mut lines = vec![(
        format!("target: {MAX_RATIO:.0} times the steady state"),
        TARGET,
        ends(target).to_vec(),
    )];
    for ((outage, curve), color) in curves.iter().zip(LINES.iter().cycle()) {
        lines.push((format!("outage of {outage} h"), *color, curve.clone()));
    }
    for (label, color, points) in lines {
        let style = ShapeStyle::from(color).stroke_width(2);
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE)
        .border_style(GRID)
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    area.present()?;
    drop(chart);
    drop(area);
    Ok(())
}
