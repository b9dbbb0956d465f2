//! Metrics in the format that the scraper reads: `OpenMetrics` 1.0, or
//! Prometheus' older text format 0.0.4.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

/// A format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    OpenMetrics,
    Text,
}

/// Answers a scraper with metrics that are written in `OpenMetrics`.
#[must_use]
pub fn respond(asked: &HeaderMap, openmetrics: String) -> Response {
    let format = format_for(asked);
    let (kind, text) = match format {
        Format::OpenMetrics => (
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            openmetrics,
        ),
        Format::Text => (
            "text/plain; version=0.0.4; charset=utf-8",
            as_text(&openmetrics),
        ),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::VARY, HeaderValue::from_static("accept")),
    ];
    (headers, text).into_response()
}

/// The format that is preferred (RFC 9110, section 12.5.1); of two that are as
/// good, `OpenMetrics`.
fn format_for(asked: &HeaderMap) -> Format {
    let accepted = asked.get_all(header::ACCEPT).iter();
    let accepted: Vec<Range> = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(Range::parse)
        .collect();
    let openmetrics = quality(&accepted, "application", "openmetrics-text", "1.0.0");
    let text = quality(&accepted, "text", "plain", "0.0.4");
    match text > openmetrics {
        true => Format::Text,
        false => Format::OpenMetrics,
    }
}

/// One entry of an `Accept` header.
struct Range {
    kind: String,
    subtype: String,
    version: Option<String>,
    /// In thousandths.
    quality: u16,
}

impl Range {
    fn parse(text: &str) -> Self {
        let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
        let media = parts.next().unwrap_or_default();
        let (kind, subtype) = media.split_once('/').unwrap_or((&media, ""));
        let mut range = Self {
            kind: kind.to_owned(),
            subtype: subtype.to_owned(),
            version: None,
            quality: 1_000,
        };
        for part in parts {
            match part.split_once('=') {
                Some(("q", value)) => {
                    let quality = value.trim().parse::<f32>().ok();
                    let quality = quality.filter(|it| (0.0..=1.0).contains(it));
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "bounded above"
                    )]
                    let thousandths = (quality.unwrap_or(1.0) * 1_000.0) as u16;
                    range.quality = thousandths;
                }
                Some(("version", value)) => {
                    range.version = Some(value.trim().trim_matches('"').to_owned());
                }
                _ => {}
            }
        }
        range
    }

    /// How exactly this names a format; `None` where it is another one.
    fn specificity(&self, kind: &str, subtype: &str, version: &str) -> Option<u8> {
        let of_kind = self.kind == kind;
        match (self.subtype.as_str(), &self.version) {
            (own, Some(own_version)) if of_kind && own == subtype => {
                // A scraper of a later version of the text format reads this one.
                (own_version == version || subtype == "plain").then_some(3)
            }
            (own, None) if of_kind && own == subtype => Some(2),
            ("*", _) if of_kind => Some(1),
            ("*", _) if self.kind == "*" => Some(0),
            _ => None,
        }
    }
}

/// What the most exact entry for a format says.
fn quality(accepted: &[Range], kind: &str, subtype: &str, version: &str) -> u16 {
    let fitting = accepted.iter().filter_map(|range| {
        let specificity = range.specificity(kind, subtype, version)?;
        Some((specificity, range.quality))
    });
    fitting.max().map_or(0, |(_, quality)| quality)
}

/// The same in the text format 0.0.4, where a counter's name is that of its
/// sample, and there are no units and no mark at the end.
fn as_text(openmetrics: &str) -> String {
    let counters: Vec<&str> = openmetrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        let described = ["# HELP ", "# TYPE "]
            .into_iter()
            .find_map(|mark| Some((mark, line.strip_prefix(mark)?)));
        match described {
            Some((mark, rest)) => {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let total = if counters.contains(&name) {
                    "_total"
                } else {
                    ""
                };
                let rest = match rest {
                    "unknown" if mark == "# TYPE " => "untyped",
                    "info" | "stateset" if mark == "# TYPE " => "gauge",
                    rest => rest,
                };
                text.extend([mark, name, total, " ", rest, "\n"]);
            }
            None if line.starts_with('#') => {}
            None => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format_of(accept: &[&str]) -> Format {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        format_for(&headers)
    }

    #[test]
    fn a_scraper_gets_the_format_that_it_prefers() {
        for accept in [
            &["text/plain;version=0.0.4"][..],
            &["text/plain; version=0.0.4; charset=utf-8"],
            &["TEXT/PLAIN"],
            &["text/plain;version=1.0.0;escaping=allow-utf-8,text/plain;version=0.0.4;q=0.9"],
            &["text/*"],
            &["text/plain", "application/json"],
            &["application/openmetrics-text;version=1.0.0;q=0.1,text/plain;version=0.0.4;q=0.3"],
            &["application/openmetrics-text;q=0,*/*"],
            &["application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5"],
            &[
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
               encoding=delimited,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ],
        ] {
            assert_eq!(format_of(accept), Format::Text, "{accept:?}");
        }
        for accept in [
            &[][..],
            &["*/*"],
            &["application/openmetrics-text"],
            &["application/openmetrics-text; version=1.0.0; charset=utf-8"],
            &[
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
               version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            ],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            &["application/json"],
            &[";;,,/=;q=x"],
        ] {
            assert_eq!(format_of(accept), Format::OpenMetrics, "{accept:?}");
        }
    }

    #[test]
    fn the_text_format_names_a_counter_as_its_sample() {
        let openmetrics = "# HELP calls Calls to the License Server.\n# TYPE calls counter\n\
            calls_total{call=\"a # b\"} 3\n# HELP wait How long.\n# TYPE wait gauge\n\
            # UNIT wait seconds\nwait 1.5\n# TYPE odd unknown\nodd 1\n# EOF\n";
        assert_eq!(
            as_text(openmetrics),
            "# HELP calls_total Calls to the License Server.\n# TYPE calls_total counter\n\
             calls_total{call=\"a # b\"} 3\n# HELP wait How long.\n# TYPE wait gauge\n\
             wait 1.5\n# TYPE odd untyped\nodd 1\n"
        );
    }
}
