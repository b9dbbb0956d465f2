use super::*;
use crate::bench::machine::Machine;
use crate::bench::plan::Plan;
use crate::bench::results::{Line, Point};
use crate::bench::wrk::Measured;

fn results() -> Results {
    let mut results = Results::new(&Plan::quick(), Machine::default());
    results.profile = "release".to_owned();
    for ratio in [1.2, 1.0, 1.15] {
        results.add("check-rate", ratio).unwrap();
        results.add("check-cpu", ratio).unwrap();
        results.add("last-event", ratio * 1e4).unwrap();
    }
    let measured = Measured {
        requests_per_second: 123_456.0,
        cpu_us: 7.5,
        latency_ms: vec![0.1, 0.2, 0.3, 0.4, 0.5, 1.0],
    };
    results.add_server("bare axum: check", measured);
    results
}

#[test]
fn the_table_compares_medians_with_targets() {
    let text = as_text(&results());
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|it| !it.is_empty())
                .collect()
        })
        .collect();
    assert_eq!(lines.len(), 4, "a heading, and the measured rows:\n{text}");
    assert_eq!(
        lines[1][1..],
        ["1.15 ×", "1.00 – 1.20", "≥ 1.1 ×", "reached"]
    );
    assert_eq!(
        lines[2][1..],
        ["1.15 ×", "1.00 – 1.20", "≤ 1 ×", "not reached"]
    );
    assert_eq!(lines[3][1..], ["11,500 ms", "10,000 – 12,000", "–", "–"]);
    let dev = Results {
        profile: "dev".to_owned(),
        ..results()
    };
    assert!(as_text(&dev).contains("no meaning") && !as_text(&dev).contains("reached"));
    assert_eq!(
        missed(&results()),
        ["feature check: CPU per request, relative to nginx returning a constant"]
    );
}

#[test]
fn a_page_keeps_everything_outside_its_measured_part() {
    let page = format!("# Title\n\n{BEGIN}\n\nold\n\n{END}\n\nMore.\n");
    let written = with_measured(&page, &as_page(&results())).unwrap();
    assert!(written.starts_with("# Title\n\n<!-- bench:") && written.ends_with("\n\nMore.\n"));
    assert!(!written.contains("old"));
    assert!(written.contains("| 1.15 × | 1.00 – 1.20 | ≥ 1.1 × | reached |"));
    assert!(
        written.contains("| bare axum: check | 123,456 | 7.5 µs | 0.10 ms | 0.50 ms | 1.00 ms |")
    );
    assert!(written.contains("have no meaning"), "a quick run");
    assert_eq!(
        with_measured(&written, &as_page(&results())).unwrap(),
        written
    );
    assert!(with_measured("# Title\n", "").is_err());
}

#[test]
fn numbers_have_three_digits_and_commas() {
    let shown = [0.0, 1.234, 12.34, 123.4, 1_234.0, 1_234_567.0].map(number);
    assert_eq!(shown, ["0.00", "1.23", "12.3", "123", "1,234", "1,234,567"]);
}

/// The published page, whose plots exist.
#[test]
fn the_published_page_shows_the_published_results() {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let directory = root().join("docs/benchmarks");
    let expected = match directory.join(RESULTS).exists() {
        true => {
            let results = Results::read(&directory.join(RESULTS)).unwrap();
            for plot in &results.plots {
                assert!(
                    directory.join(format!("{}.svg", plot.id)).exists(),
                    "{}",
                    plot.id
                );
            }
            as_page(&results)
        }
        false => NOTHING.to_owned(),
    };
    let (_, measured, _) = parts(&page).unwrap();
    assert_eq!(measured, format!("\n\n{expected}\n"));
}

#[test]
fn results_survive_their_file() {
    let mut results = results();
    let mut line = Line::new("License Client");
    line.points.push(Point::new(32.0, &[1.0, 2.0]));
    results.plots.push(Plot {
        id: "connections".to_owned(),
        title: "Checks per second".to_owned(),
        x: "connections".to_owned(),
        y: "requests/s".to_owned(),
        lines: vec![line],
    });
    let directory = tempfile::tempdir().unwrap();
    write(&results, directory.path()).unwrap();
    let read = Results::read(&directory.path().join(RESULTS)).unwrap();
    assert_eq!(read.plots, results.plots);
    assert_eq!(as_page(&read), as_page(&results));
    let svg = std::fs::read_to_string(directory.path().join("connections.svg")).unwrap();
    assert!(svg.contains("polyline"));
    let page = std::fs::read_to_string(directory.path().join("README.md")).unwrap();
    assert!(page.contains("![Checks per second: requests/s by connections](connections.svg)"));
}
