//! Metrics in the format that the scraper prefers: `OpenMetrics` 1.0, or Prometheus' older text
//! format 0.0.4.

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

/// Maximum number of entries of `Accept` that are read; scrapers send up to six …
const MAX_RANGES: usize = 32;
/// … and maximum number of parameters of an entry.
const MAX_PARAMETERS: usize = 8;

/// The preferred format (RFC 9110, section 12.5.1); `OpenMetrics` if both are equally preferred.
/// The most specific entry for a format counts.
fn format_for(asked: &HeaderMap) -> Format {
    let accepted = asked.get_all(header::ACCEPT).iter();
    let accepted = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .take(MAX_RANGES)
        .map(Range::parse);
    let (mut openmetrics, mut text) = (None, None);
    for range in accepted {
        openmetrics = openmetrics.max(range.rating("application", "openmetrics-text", "1.0.0"));
        text = text.max(range.rating("text", "plain", "0.0.4"));
    }
    let quality = |rating: Option<(u8, u16)>| rating.map_or(0, |(_, quality)| quality);
    match quality(text) > quality(openmetrics) {
        true => Format::Text,
        false => Format::OpenMetrics,
    }
}

/// One entry of an `Accept` header.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    version: Option<&'a str>,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let (kind, subtype) = media.split_once('/').unwrap_or((media, ""));
        let mut range = Self {
            kind,
            subtype,
            version: None,
            quality: 1_000,
        };
        for part in parts.take(MAX_PARAMETERS) {
            let Some((name, value)) = part.split_once('=') else {
                continue;
            };
            if name.eq_ignore_ascii_case("q") {
                let quality = value.trim().parse::<f32>().ok();
                let quality = quality.filter(|it| (0.0..=1.0).contains(it));
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "bounded above"
                )]
                let thousandths = (quality.unwrap_or(1.0) * 1_000.0) as u16;
                range.quality = thousandths;
            } else if name.eq_ignore_ascii_case("version") {
                range.version = Some(value.trim().trim_matches('"'));
            }
        }
        range
    }

    /// How specifically the entry names a format, and its weight; `None` if it names another
    /// format.
    fn rating(&self, kind: &str, subtype: &str, version: &str) -> Option<(u8, u16)> {
        let of_kind = self.kind.eq_ignore_ascii_case(kind);
        let of_subtype = self.subtype.eq_ignore_ascii_case(subtype);
        let specificity = match (self.subtype, self.version) {
            (_, Some(own_version)) if of_kind && of_subtype => {
                // A scraper of a later version of the text format can read this one.
                (own_version == version || subtype == "plain").then_some(3)
            }
            (_, None) if of_kind && of_subtype => Some(2),
            ("*", _) if of_kind => Some(1),
            ("*", _) if self.kind == "*" => Some(0),
            _ => None,
        };
        specificity.map(|specificity| (specificity, self.quality))
    }
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
    fn only_the_first_entries_and_parameters_are_read() {
        let after = |commas: usize| format!("{}text/plain", ",".repeat(commas));
        assert_eq!(format_of(&[&after(MAX_RANGES - 1)]), Format::Text);
        assert_eq!(format_of(&[&after(MAX_RANGES)]), Format::OpenMetrics);
        let many = vec!["a/b"; MAX_RANGES];
        assert_eq!(
            format_of(&[many, vec!["text/plain"]].concat()),
            Format::OpenMetrics
        );
        let after = |count: usize| format!("*/*;q=0.1,text/plain{}q=0", ";".repeat(count));
        assert_eq!(format_of(&[&after(MAX_PARAMETERS)]), Format::OpenMetrics);
        assert_eq!(format_of(&[&after(MAX_PARAMETERS + 1)]), Format::Text);
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
