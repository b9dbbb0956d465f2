//! Text that another machine chose, made safe to show.
//!
//! Such text ends up in logs, in open answers, in the database and in the support
//! file. It is made presentable where it is read, so that no later step can
//! forget it.

use crate::license_key::mask_within;

/// Longest identifier that is kept, in characters: a key id, an algorithm, a reason.
pub const MAX_IDENTIFIER_CHARS: usize = 100;
/// Longest message that is kept, in characters.
pub const MAX_MESSAGE_CHARS: usize = 1000;

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

/// An identifier in the answer to a question about `license_key`, which is
/// masked whatever its form.
#[must_use]
pub fn identifier_about(text: &str, license_key: &str) -> String {
    presentable(text, license_key, MAX_IDENTIFIER_CHARS)
}

/// A message in the answer to a question about `license_key`, which is masked
/// whatever its form.
#[must_use]
pub fn message_about(text: &str, license_key: &str) -> String {
    presentable(text, license_key, MAX_MESSAGE_CHARS)
}

fn presentable(text: &str, license_key: &str, max_chars: usize) -> String {
    let visible: String = text.chars().filter_map(visible).collect();
    // Before the cut, which would leave half a key unrecognised.
    let masked = mask_within(&visible, license_key);
    masked.chars().take(max_chars).collect()
}

/// The character as it is shown: line breaks and tabs are spaces, other control
/// characters and invisible ones, which can reorder or hide text, are left out.
fn visible(c: char) -> Option<char> {
    match c {
        '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some(' '),
        // Soft hyphen, Arabic letter mark, joiners, direction marks, embeddings,
        // overrides, isolates, byte order mark, annotations and tags.
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => None,
        c if c.is_control() => None,
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // The cut is inside the key.
        let text = format!("{} FXSGHT-AAAA-BBBB-CCCC-DDDD", "x".repeat(75));
        assert!(!identifier(&text).contains("AAAA"));
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
    fn what_is_presentable_stays() {
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
