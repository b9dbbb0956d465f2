//! Handles changes that mail programs, word processors and input methods make to text.

use std::fmt;

use crate::text_encoding::CodePoint;

/// Maximum number of characters listed by [`OddCharacters`].
const MAX_LISTED: usize = 8;

/// Whether the character is invisible: zero-width characters, joiners, direction and byte
/// order marks, variation selectors, fillers, tags, and controls other than white
/// space.
#[must_use]
pub fn is_invisible(c: char) -> bool {
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

/// The hyphen and its replacements in word processors and input methods.
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

/// Whether the characters are a pair of quotation marks, ASCII or typographic.
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

/// The ASCII character for a full-width one of an East Asian input method.
#[must_use]
pub(crate) fn half_width(c: char) -> char {
    match u32::from(c) {
        code @ 0xff01..=0xff5e => char::from_u32(code - 0xfee0).unwrap_or(c),
        0x3000 => ' ',
        _ => c,
    }
}

/// A character as shown in a message: ASCII characters unchanged, all others as code points,
/// because they may look alike.
#[must_use]
pub(crate) fn shown(c: char) -> String {
    if c.is_ascii_graphic() {
        format!("'{c}'")
    } else {
        CodePoint(c).to_string()
    }
}

/// The apparent type of an unexpected text, judging by its beginning.
#[must_use]
pub(crate) fn kind_of_text(text: &str) -> Option<&'static str> {
    let begins = |c: char| !c.is_whitespace() && !is_invisible(c);
    let start: String = text.chars().skip_while(|c| !begins(*c)).take(64).collect();
    let start = start.to_ascii_lowercase();
    let kinds = [
        ("<!doctype html", "an HTML page"),
        ("<html", "an HTML page"),
        ("<?xml", "an XML document"),
        ("-----begin certificate", "a certificate (PEM)"),
        ("-----begin public key", "a public key (PEM)"),
        ("-----begin private key", "a private key (PEM)"),
        ("-----begin pgp", "an encrypted or signed message (PGP)"),
        ("mime-version:", "a whole e-mail message"),
        ("received:", "a whole e-mail message"),
        ("return-path:", "a whole e-mail message"),
        ("{\"keys\"", "a set of public keys (JWK Set)"),
        ("{", "JSON"),
    ];
    let kind = kinds
        .into_iter()
        .find(|(begin, _)| start.starts_with(begin));
    kind.map(|(_, name)| name)
}

/// Maximum length of an HTML tag, in bytes.
const MAX_TAG_BYTES: usize = 4096;

/// The text of an HTML page: without tags, and with entities decoded.
#[must_use]
pub(crate) fn without_markup(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, sign) = rest.split_at(at);
        plain.push_str(before);
        let (markup, after) = match sign.as_bytes() {
            [b'<', b'a'..=b'z' | b'A'..=b'Z' | b'/' | b'!', ..] => tag(sign),
            [b'&', ..] => entity(sign),
            _ => None,
        }
        .unwrap_or((&sign[..1], &sign[1..]));
        match markup.as_bytes() {
            [b'<', _, ..] => {}
            [b'&', .., b';'] => plain.extend(named(&markup[1..markup.len() - 1])),
            _ => plain.push_str(markup),
        }
        rest = after;
    }
    plain.push_str(rest);
    plain
}

fn tag(text: &str) -> Option<(&str, &str)> {
    let bytes = text.as_bytes().iter().take(MAX_TAG_BYTES).skip(1);
    let end = bytes
        .take_while(|byte| **byte != b'<')
        .position(|byte| *byte == b'>')?;
    text.split_at_checked(end + 2)
}

fn entity(text: &str) -> Option<(&str, &str)> {
    let name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'#';
    let length = text
        .as_bytes()
        .iter()
        .skip(1)
        .take(12)
        .take_while(name)
        .count();
    let is_entity = length > 0 && text.as_bytes().get(length + 1) == Some(&b';');
    is_entity.then(|| text.split_at(length + 2))
}

/// The character of an entity. Entities that are not listed are spaces, or characters
/// that do not occur in our files.
fn named(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        return code.ok().and_then(char::from_u32);
    }
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "dash" | "hyphen" => Some('\u{2010}'),
        "ndash" => Some('\u{2013}'),
        "mdash" => Some('\u{2014}'),
        "minus" => Some('\u{2212}'),
        "equals" => Some('='),
        "plus" => Some('+'),
        "sol" => Some('/'),
        "lowbar" => Some('_'),
        "period" => Some('.'),
        _ => Some(' '),
    }
}

/// The characters of a text that are neither ASCII nor white space, each listed once, to
/// be appended to a message; empty if there are no such characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OddCharacters {
    found: Vec<CodePoint>,
    are_more: bool,
}

impl OddCharacters {
    /// The odd characters of `text`.
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

    /// Whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

/// For example `U+200B, U+0410`, with `and others` after eight.
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
    fn odd_characters_are_listed_once_up_to_a_limit() {
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
    fn markup_is_removed_and_entities_are_decoded() {
        for (html, plain) in [
            ("<p class=\"a\">a<br/>b</p>", "ab"),
            ("a<wbr>b<!-- c -->d", "abd"),
            ("&lt;a&gt;&amp;&#45;&#x2D;&ndash;&nbsp;x", "<a>&--– x"),
            ("a < b > c <1>", "a < b > c <1>"),
            ("a <b", "a <b"),
            ("<a <b>c", "<a c"),
            (
                "& &; &a &toolongtobeone; &#xffffffff;",
                "& &; &a &toolongtobeone; ",
            ),
            ("", ""),
            ("<", "<"),
        ] {
            assert_eq!(without_markup(html), plain, "{html}");
        }
    }

    #[test]
    fn no_character_is_in_two_classes() {
        for c in '\0'..=char::MAX {
            let kinds = [is_invisible(c), is_dash(c), is_quote(c), c.is_whitespace()];
            let kinds = kinds.into_iter().filter(|it| *it).count();
            assert!(kinds <= 1, "{}", CodePoint(c));
            assert!(kinds == 0 || !c.is_ascii_alphanumeric(), "{c}");
        }
    }
}
