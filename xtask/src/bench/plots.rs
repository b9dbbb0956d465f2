//! Plots as SVG.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, anyhow};
use plotters::prelude::{
    ChartBuilder, IntoDrawingArea as _, LineSeries, PathElement, RGBColor, SVGBackend, ShapeStyle,
    Text, WHITE,
};

use super::results::Plot;
use super::statistics::Summary;
use super::thousands::thousands;

const SIZE: (u32, u32) = (860, 340);
/// The part of the width that the legend does not need.
const CHART_WIDTH: u32 = 690;
const COLORS: [RGBColor; 4] = [
    RGBColor(59, 125, 221),
    RGBColor(217, 138, 29),
    RGBColor(47, 158, 101),
    RGBColor(120, 120, 120),
];

/// The values on the horizontal axis, at the same distance from each other: they grow by factors.
fn places(plot: &Plot) -> Vec<f64> {
    let values = plot.lines.iter().flat_map(|line| &line.points);
    // Bits are in the order of the numbers, because none is negative.
    let sorted: BTreeSet<u64> = values.map(|point| point.x.to_bits()).collect();
    sorted.into_iter().map(f64::from_bits).collect()
}

pub(super) fn draw(plot: &Plot) -> Result<String> {
    let places = places(plot);
    let points = plot.lines.iter().flat_map(|line| &line.points);
    let values: Vec<f64> = points.flat_map(|point| point.rounds.clone()).collect();
    let values = Summary::of(&values).context("nothing to draw")?;
    let mut svg = String::new();
    draw_into(&mut svg, plot, &places, values.max * 1.1).map_err(|error| anyhow!("{error}"))?;
    Ok(svg)
}

fn draw_into(
    svg: &mut String,
    plot: &Plot,
    places: &[f64],
    most: f64,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let last = places.len() as f64 - 0.5;
    let (left, legend) = area.split_horizontally(CHART_WIDTH);
    let mut chart = ChartBuilder::on(&left)
        .caption(&plot.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(-0.5..last, 0.0..most)?;
    let label = |place: &f64| {
        let is_whole = (place - place.round()).abs() < 0.01;
        let value = places.get(place.round() as usize).filter(|_| is_whole);
        value.map_or(String::new(), |value| match value.fract() == 0.0 {
            true => thousands(*value),
            false => value.to_string(),
        })
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_labels(places.len() * 2 + 1)
        .x_label_formatter(&label)
        .x_desc(&plot.x)
        .y_desc(&plot.y)
        .label_style(("sans-serif", 12))
        .draw()?;
    let lines = plot.lines.iter().filter(|line| !line.points.is_empty());
    for ((y, line), color) in (60..).step_by(24).zip(lines).zip(COLORS.iter().cycle()) {
        let style = ShapeStyle::from(*color).stroke_width(2);
        let points = line.points.iter().filter_map(|point| {
            let place = places.iter().position(|place| *place == point.x)?;
            Some((place as f64, point.summary()?.median))
        });
        chart.draw_series(LineSeries::new(points, style).point_size(3))?;
        legend.draw(&PathElement::new([(0, y), (16, y)], style))?;
        let name = Text::new(line.name.clone(), (22, y - 6), ("sans-serif", 12));
        legend.draw(&name)?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::{Line, Point};

    #[test]
    fn every_line_and_every_value_of_the_axis_is_drawn() {
        let line = |name: &str, values: &[f64]| {
            let mut line = Line::new(name);
            let points = values.iter().map(|x| Point::new(*x, &[*x, x * 2.0]));
            line.points.extend(points);
            line
        };
        let plot = Plot {
            id: "a".to_owned(),
            title: "Checks per second".to_owned(),
            x: "connections".to_owned(),
            y: "requests/s".to_owned(),
            lines: vec![line("one", &[10_000.0, 1.0]), line("two", &[99.9])],
        };
        assert_eq!(places(&plot), [1.0, 99.9, 10_000.0]);
        let svg = draw(&plot).unwrap();
        for text in [
            "Checks per second",
            "connections",
            "one",
            "two",
            "10,000",
            "99.9",
        ] {
            assert!(svg.contains(&format!("\n{text}\n")), "{text}: {svg}");
        }
        let empty = Plot {
            lines: Vec::new(),
            ..plot
        };
        assert!(draw(&empty).is_err());
    }
}
