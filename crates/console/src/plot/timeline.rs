//! A timeline: what applies in which period, as SVG in the colors of the page.

use askama::filters::Escaper as _;
use chrono::{DateTime, TimeDelta, Utc};

use crate::escaped::InPage;

/// One line: something, and the time for which it applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// What it is.
    pub name: String,
    /// The first instant; `None` if it has always begun.
    pub from: Option<DateTime<Utc>>,
    /// The last instant; `None` if it never ends.
    pub until: Option<DateTime<Utc>>,
}

/// Maximum number of lines that are drawn.
pub const MAX_LANES: usize = 30;

/// The width of the drawing, and of the names on its left, in units of about a pixel.
const WIDTH: i64 = 1000;
const NAMES: i64 = 260;
/// The height of a line, and of its bar.
const LANE: usize = 28;
const BAR: usize = 14;
/// The height of the dates below.
const DATES: usize = 26;
/// The number of dates.
const MARKS: i32 = 5;
/// Maximum length of a name, in characters; longer ones are cut.
const MAX_NAME_CHARS: usize = 32;

/// The lines from a little before `now` until a little after the last bound, at most [`MAX_LANES`].
/// Empty if there are none.
#[must_use]
pub fn timeline(summary: &str, now: DateTime<Utc>, lanes: &[Lane]) -> String {
    if lanes.is_empty() {
        return String::new();
    }
    let lanes = &lanes[..lanes.len().min(MAX_LANES)];
    let scale = Scale::of(now, lanes);
    let height = lanes.len() * LANE + DATES;
    let mut svg = format!(
        "<svg role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">",
        escaped(summary)
    );
    draw(&mut svg, &scale, lanes);
    svg.push_str("</svg>");
    svg
}

/// Which instant is where.
struct Scale {
    now: DateTime<Utc>,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
}

impl Scale {
    fn of(now: DateTime<Utc>, lanes: &[Lane]) -> Self {
        let bounds = lanes.iter().flat_map(|it| [it.from, it.until]).flatten();
        let latest = bounds.max().unwrap_or(now);
        let span = (latest - now).max(TimeDelta::days(30));
        let margin = span / 12;
        Self {
            now,
            first: now.checked_sub_signed(margin).unwrap_or(now),
            last: now
                .checked_add_signed(span)
                .and_then(|it| it.checked_add_signed(margin))
                .unwrap_or(DateTime::<Utc>::MAX_UTC),
        }
    }

    fn x(&self, at: DateTime<Utc>) -> i64 {
        let whole = (self.last - self.first).num_seconds().max(1);
        let part = (at - self.first).num_seconds().clamp(0, whole);
        NAMES + part * (WIDTH - NAMES) / whole
    }

    /// An instant between both ends.
    fn at(&self, place: i32, of: i32) -> DateTime<Utc> {
        let whole = self.last - self.first;
        self.first + whole / of * place
    }
}

fn draw(svg: &mut String, scale: &Scale, lanes: &[Lane]) {
    let bottom = lanes.len() * LANE;
    for place in 0..MARKS {
        let at = scale.at(2 * place + 1, 2 * MARKS);
        let (x, y) = (scale.x(at), bottom + 18);
        let date = at.format("%-d %b %Y");
        svg.push_str(&format!(
            "<line x1=\"{x}\" x2=\"{x}\" y1=\"0\" y2=\"{bottom}\" stroke=\"currentColor\" \
             stroke-opacity=\"0.2\"/><text x=\"{x}\" y=\"{y}\" fill=\"currentColor\" \
             text-anchor=\"middle\">{date}</text>"
        ));
    }
    for (place, lane) in lanes.iter().enumerate() {
        let top = place * LANE;
        let (text, bar) = (top + 18, top + (LANE - BAR) / 2);
        let from = lane.from.map_or(NAMES, |at| scale.x(at));
        let until = lane.until.map_or(WIDTH, |at| scale.x(at));
        let width = (until - from).max(3);
        let class = match lane.from.is_some_and(|from| scale.now < from) {
            true => "span later",
            false => "span",
        };
        svg.push_str(&format!(
            "<text class=\"name\" x=\"0\" y=\"{text}\">{}</text><rect class=\"{class}\" \
             x=\"{from}\" y=\"{bar}\" width=\"{width}\" height=\"{BAR}\" rx=\"3\"/>",
            escaped(&cut(&lane.name))
        ));
    }
    let x = scale.x(scale.now);
    svg.push_str(&format!(
        "<line x1=\"{x}\" x2=\"{x}\" y1=\"0\" y2=\"{bottom}\" stroke=\"currentColor\" \
         stroke-width=\"2\" stroke-dasharray=\"4 3\"/>"
    ));
}

fn cut(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    let written = InPage.write_escaped_str(&mut escaped, text);
    // Writing to a string does not fail.
    written.map(|()| escaped).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &str, from: Option<&str>, until: Option<&str>) -> Lane {
        let at = |text: &str| text.parse().unwrap();
        Lane {
            name: name.to_owned(),
            from: from.map(at),
            until: until.map(at),
        }
    }

    fn now() -> DateTime<Utc> {
        "2027-01-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn what_starts_later_begins_to_the_right_of_today() {
        let later = lane("32 cameras", Some("2027-05-01T00:00:00Z"), None);
        let ending = lane("Map", None, Some("2027-07-29T23:59:59Z"));
        let svg = timeline("Entitlements", now(), &[later.clone(), ending.clone()]);
        assert!(
            svg.starts_with("<svg role=\"img\" aria-label=\"Entitlements\""),
            "{svg}"
        );
        assert!(svg.contains("class=\"span later\"") && svg.contains(">32 cameras<"));
        let scale = Scale::of(now(), &[later.clone(), ending]);
        assert!(NAMES < scale.x(now()) && scale.x(now()) < scale.x(later.from.unwrap()));
        assert!(scale.x(later.from.unwrap()) < WIDTH);
    }

    #[test]
    fn names_are_text_and_the_drawing_is_bounded() {
        let hostile = lane("<script>\"'\u{202e}", None, None);
        let svg = timeline("a\"b", now(), &vec![hostile; 100]);
        assert!(
            !svg.contains("<script>") && !svg.contains('\u{202e}'),
            "{svg}"
        );
        assert_eq!(svg.matches("<rect").count(), MAX_LANES);
        assert_eq!(timeline("", now(), &[]), "");
        let far = lane("far", Some("9999-12-31T23:59:59Z"), None);
        assert!(timeline("", now(), &[far]).contains("<rect"));
    }
}
