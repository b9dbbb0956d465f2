//! What mail programs, word processors and input methods do to text that people paste.

use std::fmt;

use crate::text_encoding::CodePoint;

/// Most characters that [`OddCharacters`] lists.
const MAX_LISTED: usize = 8;

/// Whether nobody sees the character: zero-width characters, joiners, direction and
/// byte order marks, variation selectors, fillers, tags and controls other than white
/// space.
#[must_use]
pub(crate) fn is_invisible(c: char) -> bool {
    match c {
        // Soft hyphen, grapheme joiner, Arabic letter mark, Hangul fillers, Khmer
        // vowels, Mongolian selectors and separator.
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{3164}'
        | '\u{ffa0}'
        // Zero-width characters, direction marks, embeddings, overrides, isolates.
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        // Variation selectors, byte order mark, annotations, tags.
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        c => c.is_control() && !c.is_whitespace(),
    }
}

/// The hyphen, and what word processors and input methods make of it.
#[must_use]
pub(crate) fn is_dash(c: char) -> bool {
    matches!(
        c,
        '-' | '\u{2d7}' | '\u{58a}' | '\u{5be}' | '\u{1400}' | '\u{1806}' | '\u{2010}'
            ..='\u{2015}'
                | '\u{2043}'
                | '\u{207b}'
                | '\u{208b}'
                | '\u{2212}'
                | '\u{2500}'
                | '\u{2796}'
                | '\u{2e3a}'
                | '\u{2e3b}'
                | '\u{301c}'
                | '\u{30fc}'
                | '\u{fe31}'
                | '\u{fe32}'
                | '\u{fe58}'
                | '\u{fe63}'
                | '\u{ff0d}'
                | '\u{ff70}'
    )
}

/// Whether text stands between two of these: ASCII and typographic quotation marks.
#[must_use]
pub(crate) fn is_quote(c: char) -> bool {
    matches!(
        c,
        '"' | '\''
            | '`'
            | '\u{ab}'
            | '\u{b4}'
            | '\u{bb}'
            | '\u{2018}'..='\u{201f}'
            | '\u{2032}'..='\u{2037}'
            | '\u{2039}'
            | '\u{203a}'
            | '\u{300c}'..='\u{300f}'
            | '\u{301d}'..='\u{301f}'
            | '\u{ff02}'
            | '\u{ff07}'
    )
}

/// The ASCII character that an East Asian input method has typed in full width.
#[must_use]
pub(crate) fn half_width(c: char) -> char {
    match u32::from(c) {
        code @ 0xff01..=0xff5e => char::from_u32(code - 0xfee0).unwrap_or(c),
        0x3000 => ' ',
        _ => c,
    }
}

/// The characters of a text that are neither ASCII nor white space, each one time, as
/// a sentence's end: empty where there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OddCharacters {
    found: Vec<CodePoint>,
    are_more: bool,
}

impl OddCharacters {
    /// Those of `text`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut odd = Self::default();
        for c in text.chars() {
            let is_plain = c.is_ascii_graphic() || matches!(c, ' ' | '\t' | '\r' | '\n');
            if is_plain || odd.found.contains(&CodePoint(c)) {
                continue;
            }
            if odd.found.len() == MAX_LISTED {
                odd.are_more = true;
                break;
            }
            odd.found.push(CodePoint(c));
        }
        odd
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

/// Such as `U+200B, U+0410`; `and others` where there are more than eight.
impl fmt::Display for OddCharacters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, code) in self.found.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{code}")?;
        }
        if self.are_more {
            f.write_str(" and others")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_characters_are_listed_one_time_and_bounded() {
        let listed = |text| OddCharacters::of(text).to_string();
        assert_eq!(listed("plain-ASCII text!\r\n"), "");
        assert_eq!(
            listed("a\u{200b}b\u{410}\u{200b}\0"),
            "U+200B, U+0410, U+0000"
        );
        assert_eq!(
            listed("àáâãäåæçè"),
            "U+00E0, U+00E1, U+00E2, U+00E3, U+00E4, U+00E5, U+00E6, U+00E7 and others"
        );
    }

    #[test]
    fn no_character_is_of_two_kinds() {
        for c in '\0'..=char::MAX {
            let kinds = [is_invisible(c), is_dash(c), is_quote(c), c.is_whitespace()];
            let kinds = kinds.into_iter().filter(|it| *it).count();
            assert!(kinds <= 1, "{}", CodePoint(c));
            assert!(kinds == 0 || !c.is_ascii_alphanumeric(), "{c}");
        }
    }
}
