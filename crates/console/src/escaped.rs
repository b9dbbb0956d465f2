//! Displays untrusted text in pages and in the output of commands.

use std::fmt;

use askama::filters::{Escaper, Html};
pub use license_core::foreign_text::escaped;
use license_core::foreign_text::is_escaped;
use serde::Serialize;
use serde_json::Value;

/// All texts of a JSON value, as [`escaped`] shows them.
pub fn escape_texts(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(is_escaped) => *text = escaped(text),
        Value::Array(values) => values.iter_mut().for_each(escape_texts),
        Value::Object(fields) => {
            let named = std::mem::take(fields).into_iter().map(|(name, mut value)| {
                escape_texts(&mut value);
                (escaped(&name), value)
            });
            *fields = named.collect();
        }
        _ => {}
    }
}

/// JSON for a terminal and for programs: it means the same, and no character in it controls a
/// terminal.
///
/// # Errors
/// If the value has no JSON form.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(escaped_json(&serde_json::to_string_pretty(value)?))
}

/// The same on one line, for JSON Lines.
///
/// # Errors
/// If the value has no JSON form.
pub fn json_line(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(escaped_json(&serde_json::to_string(value)?))
}

fn escaped_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match is_escaped(c) && c != '\n' {
            // Only texts contain such characters, in which JSON may escape every one.
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }),
            false => escaped.push(c),
        }
    }
    escaped
}

/// How every text is written into a page (`askama.toml`): escaped for HTML, and as
/// [`escaped`] does, apart from white space. What a form sends back must not change and is
/// written with `e("xml")`, which escapes for HTML only.
#[derive(Clone, Copy, Debug, Default)]
pub struct InPage;

impl Escaper for InPage {
    fn write_escaped_str<W: fmt::Write>(&self, mut page: W, text: &str) -> fmt::Result {
        let is_escaped = |c: char| is_escaped(c) && !c.is_ascii_whitespace();
        let mut rest = text;
        while let Some(at) = rest.find(is_escaped) {
            let (before, from) = rest.split_at(at);
            Html.write_escaped_str(&mut page, before)?;
            let mut chars = from.chars();
            for c in chars.next().into_iter().flat_map(char::escape_unicode) {
                page.write_char(c)?;
            }
            rest = chars.as_str();
        }
        Html.write_escaped_str(&mut page, rest)
    }
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::*;

    #[test]
    fn json_means_the_same_and_controls_no_terminal() {
        let odd = "a\u{1b}[2J\u{9b}2J\u{202e}\u{e0041}\n\"é門\u{2028}";
        let value = serde_json::json!({odd: [odd, {"number": 1.5}]});
        let json = json(&value).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
        assert!(json.chars().all(|c| c == '\n' || !is_escaped(c)), "{json}");
        assert!(json.contains("é門"), "{json}");
        let line = json_line(&value).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
        assert!(!line.contains(is_escaped), "{line}");

        let mut shown = value;
        escape_texts(&mut shown);
        let text = shown.to_string();
        assert!(!text.contains(is_escaped), "{text}");
        assert!(text.contains(r"\\u{202e}"), "{text}");
    }

    #[derive(Template)]
    #[template(
        source = r#"{{ text }}|<input value="{{ text|e("xml") }}">|{{ number }}"#,
        ext = "html"
    )]
    struct Page {
        text: &'static str,
        number: u32,
    }

    #[test]
    fn pages_show_marks_and_forms_keep_them() {
        let page = Page {
            text: "<b>\u{202e}\n\u{7}&é",
            number: 7,
        };
        assert_eq!(
            page.render().unwrap(),
            "&#60;b&#62;\\u{202e}\n\\u{7}&#38;é|\
             <input value=\"&#60;b&#62;\u{202e}\n\u{7}&#38;é\">|7"
        );
    }
}
