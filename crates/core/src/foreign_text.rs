//! Untrusted text from other machines, made safe to display.
//!
//! Such text ends up in logs, public responses, the database and the support file. It is sanitized
//! where it is read, so that no later step can forget to do so.

use crate::license_key::mask_within;
use crate::pasted_text::is_invisible;

/// Maximum length of an identifier in characters: a key id, an algorithm, a reason.
pub const MAX_IDENTIFIER_CHARS: usize = 100;
/// Maximum length of a message in characters.
pub const MAX_MESSAGE_CHARS: usize = 1000;

/// The number of letters and digits of a license key with its prefix.
const KEY_LETTERS: usize = 22;
/// Up to this many times the displayed length is read, to find the end of a license key
/// with many characters in between.
const MAX_KEY_SPREAD: usize = 8;

/// An identifier of at most [`MAX_IDENTIFIER_CHARS`]: one line without invisible
/// characters, with license keys masked.
#[must_use]
pub fn identifier(text: &str) -> String {
    presentable(text, "", MAX_IDENTIFIER_CHARS)
}

/// A message of at most [`MAX_MESSAGE_CHARS`], made presentable in the same way.
#[must_use]
pub fn message(text: &str) -> String {
    presentable(text, "", MAX_MESSAGE_CHARS)
}

/// An identifier in the response to a call about `license_key`, which is masked in any format.
#[must_use]
pub fn identifier_about(text: &str, license_key: &str) -> String {
    presentable(text, license_key, MAX_IDENTIFIER_CHARS)
}

/// A message in the response to a call about `license_key`, which is masked in any format.
#[must_use]
pub fn message_about(text: &str, license_key: &str) -> String {
    presentable(text, license_key, MAX_MESSAGE_CHARS)
}

/// What is wrong with JSON from another machine, and where, without any of its
/// text.
#[must_use]
pub fn json_fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // Field names are ours; all other data errors may repeat the input.
    if !error.is_data() || text.starts_with("missing field `") {
        return text;
    }
    let (line, column) = (error.line(), error.column());
    format!("unexpected value at line {line} column {column}")
}

/// The part of a text that determines how its first `max_chars` are displayed: a license key of
/// `key_letters` characters that begins there may end later.
fn relevant(text: &str, max_chars: usize, key_letters: usize) -> String {
    let mut letters_left = key_letters;
    let shown = text.chars().filter_map(visible).enumerate();
    let relevant = shown.take_while(|(at, c)| {
        let is_relevant = *at < max_chars || letters_left > 0;
        if *at >= max_chars && c.is_alphanumeric() {
            letters_left = letters_left.saturating_sub(1);
        }
        is_relevant && *at < MAX_KEY_SPREAD * max_chars
    });
    relevant.map(|(_, c)| c).collect()
}

fn presentable(text: &str, license_key: &str, max_chars: usize) -> String {
    let known_letters = license_key.chars().filter(|c| c.is_alphanumeric()).count();
    let key_letters = KEY_LETTERS.max(known_letters);
    // Control characters that are removed count as well.
    let first: String = text.chars().take(2 * MAX_KEY_SPREAD * max_chars).collect();
    let visible = relevant(&first, max_chars, key_letters);
    // Masks before truncating, because half a key would not be recognized.
    let masked = mask_within(&visible, license_key);
    masked.chars().take(max_chars).collect()
}

/// The displayed character: line breaks and tabs become spaces; other control characters
/// and invisible ones, which can reorder or hide text, are removed.
fn visible(c: char) -> Option<char> {
    match c {
        '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some(' '),
        c if is_invisible(c) || c.is_control() => None,
        c => Some(c),
    }
}

/// Whether a character is shown as an escape, such as `\u{202e}`: control characters, which can
/// start a new line or control a terminal, and characters that change the direction of text or are
/// invisible. A few combining characters of some scripts are also escaped.
#[must_use]
pub fn is_escaped(c: char) -> bool {
    c.is_control() || is_invisible(c) || matches!(c, '\u{2028}' | '\u{2029}')
}

/// A text on one line of a terminal: every character that could control it is visible.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match is_escaped(c) {
            true => escaped.extend(c.escape_unicode()),
            false => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_direction_marks_are_visible() {
        assert_eq!(escaped("Gate 4, Århus"), "Gate 4, Århus");
        let shown = escaped("a\nb\r\u{1b}[2J\u{9b}2J\u{202e}c\0");
        assert!(shown.chars().all(|c| c.is_ascii_graphic()), "{shown}");
        assert!(shown.starts_with("a\\u{a}b\\u{d}\\u{1b}[2J"), "{shown}");
        for mark in [
            '\u{61c}', '\u{200b}', '\u{200f}', '\u{202e}', '\u{2066}', '\u{feff}',
        ] {
            let code = u32::from(mark);
            assert_eq!(escaped(&format!("a{mark}b")), format!("a\\u{{{code:x}}}b"));
        }
    }

    #[test]
    fn a_text_becomes_one_visible_line() {
        for (text, shown) in [
            ("plain ü 漢字", "plain ü 漢字"),
            ("a\nERROR forged", "a ERROR forged"),
            ("a\r\nb\tc\u{b}d\u{c}e", "a  b c d e"),
            ("a\u{85}b\u{2028}c\u{2029}d", "a b c d"),
            ("a\0b\u{7f}c\u{9b}d", "abcd"),
            ("\u{1b}[31mred\u{1b}[0m", "[31mred[0m"),
            ("a\u{202e}b\u{2066}c\u{200f}d\u{61c}e", "abcde"),
            ("a\u{200b}b\u{feff}c\u{ad}d\u{e0041}e", "abcde"),
        ] {
            assert_eq!(message(text), shown, "{text:?}");
            assert_eq!(identifier(text), shown, "{text:?}");
        }
    }

    #[test]
    fn a_text_is_cut_after_keys_are_masked() {
        let long = "ü".repeat(40_000);
        let (id, said) = (identifier(&long), message(&long));
        assert_eq!(id.chars().count(), MAX_IDENTIFIER_CHARS);
        assert_eq!(said.chars().count(), MAX_MESSAGE_CHARS);
        // The truncation point is inside the key.
        let text = format!("{} FXSGHT-AAAA-BBBB-CCCC-DDDD", "x".repeat(75));
        assert!(!identifier(&text).contains("AAAA"));
    }

    #[test]
    fn a_long_text_costs_no_more_than_its_displayed_part() {
        // The relevant part is masked; the rest is not read.
        for unit in ["aaaa ", "AAAA-", "a", "FXSGHT-", "ü "] {
            let long = relevant(&unit.repeat(50_000), MAX_MESSAGE_CHARS, KEY_LETTERS);
            let chars = long.chars().count();
            assert!(
                chars <= MAX_MESSAGE_CHARS + 3 * KEY_LETTERS,
                "{unit}: {chars}"
            );
        }
        let spread = relevant(&" ".repeat(50_000), MAX_MESSAGE_CHARS, KEY_LETTERS);
        assert_eq!(spread.len(), MAX_KEY_SPREAD * MAX_MESSAGE_CHARS);
    }

    #[test]
    fn a_key_that_ends_behind_the_cut_is_masked() {
        let key = "FXSGHT-AAAA-BBBB-CCCC-DDDD";
        for between in ["", " ", "     ", "\u{200b}"] {
            let spread: String = key.chars().map(|c| format!("{c}{between}")).collect();
            for before in [80, 90, 97] {
                let text = format!("{}  {spread}", "x".repeat(before));
                let shown = identifier(&text);
                let unmasked = shown.trim_start_matches('x').replace([' ', '*', '-'], "");
                assert!("FXSGHTDDDD".starts_with(&unmasked), "{shown}");
            }
        }
        let known = format!("K{}", "7".repeat(200));
        let text = format!("{} {known}", "x".repeat(90));
        assert!(!identifier_about(&text, &known).contains('7'));
    }

    #[test]
    fn json_errors_do_not_repeat_the_text() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        #[expect(dead_code, reason = "only read")]
        struct Said {
            purpose: crate::offline::Purpose,
            key_set: u64,
        }
        let secret = "AAAA-".repeat(100);
        for (json, expected) in [
            ("{}", "missing field `purpose` at line 1 column 2"),
            ("{", "EOF while parsing an object at line 1 column 1"),
            (
                "{\"purpose\":\"SECRET\"}",
                "unexpected value at line 1 column 521",
            ),
            (
                "{\"keySet\":\"SECRET\"}",
                "unexpected value at line 1 column 520",
            ),
            ("{\"purpose\":\"activate\",\"keySet\":[\"SECRET\"]}", ""),
            ("[\"SECRET\"]", ""),
            ("\"SECRET", ""),
        ] {
            let json = json.replace("SECRET", &secret);
            let fault = json_fault(&serde_json::from_str::<Said>(&json).unwrap_err());
            assert!(!fault.contains("AAAA"), "{fault}");
            if !expected.is_empty() && !json.contains("AAAA") {
                assert_eq!(fault, expected);
            }
            assert!(fault.len() < 100, "{fault}");
        }
    }

    #[test]
    fn an_invisible_character_does_not_hide_a_key() {
        for text in [
            "FXSGHT-AAAA\u{200b}-BBBB-CCCC-DDDD",
            "FXS\0GHT-AAAA-BBBB-CCCC-DDDD",
            "FXSGHT\nAAAA\nBBBB\nCCCC\nDDDD",
            "fxsght\u{2028}aaaa\u{202e}bbbbccccdddd",
        ] {
            assert_eq!(message(text), "FXSGHT-****-****-****-DDDD", "{text:?}");
        }
    }

    #[test]
    fn presentable_text_is_unchanged() {
        for text in [
            "say FXSGHT-AAAA-BBBB-CCCC-DDDD and then much more text follows here",
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            &"a\n".repeat(3_000),
        ] {
            let shown = message(text);
            assert_eq!(message(&shown), shown);
        }
    }
}
