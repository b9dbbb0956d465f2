//! Decodes text files from any desktop.
//!
//! Windows PowerShell writes UTF-16 with `>`, editors add a byte order mark or save in the
//! Windows code page, and Python's JSON reader accepts all Unicode encodings. All such
//! input is decoded here.

use std::fmt;

use encoding_rs::{UTF_16BE, UTF_16LE, WINDOWS_1252};

/// The byte order mark, which is not part of the text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Why bytes are not text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// The file has the format of another program.
    #[error("this is {0}, not text; save it as plain text in UTF-8")]
    OtherFormat(&'static str),
    /// The text is truncated, or mixes two encodings.
    #[error("this is damaged {0} text; save it as plain text in UTF-8")]
    Damaged(&'static str),
    /// A control character that does not occur in text.
    #[error("this is not text: line {line} contains the character {character}")]
    ControlCharacter {
        /// Line, from 1.
        line: usize,
        /// The character, as `U+XXXX`.
        character: CodePoint,
    },
}

/// A character as its code point, such as `U+200B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CodePoint(pub char);

impl fmt::Display for CodePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "U+{:04X}", u32::from(self.0))
    }
}

/// Decodes a text file in any encoding that desktops produce: UTF-8, UTF-16 and UTF-32 in
/// either byte order, each with or without byte order marks, and otherwise Windows-1252.
/// Byte order marks are not part of the text.
///
/// # Errors
/// [`NotText`], which names what was found instead.
pub fn decode(bytes: &[u8]) -> Result<String, NotText> {
    if let Some(format) = other_format(bytes) {
        return Err(NotText::OtherFormat(format));
    }
    let text = match unicode(bytes) {
        Ok(text) => text,
        Err("UTF-8") if !bytes.contains(&0) => {
            let (text, _) = WINDOWS_1252.decode_without_bom_handling(bytes);
            text.into_owned()
        }
        Err(encoding) => return Err(NotText::Damaged(encoding)),
    };
    for (index, line) in text.split('\n').enumerate() {
        if let Some(found) = line.chars().find(|c| !may_be_in_text(*c)) {
            return Err(NotText::ControlCharacter {
                line: index + 1,
                character: CodePoint(found),
            });
        }
    }
    Ok(text)
}

/// Decodes text in any Unicode encoding, like Python's `json`: by its byte order mark, or by
/// the zero bytes among the first four.
///
/// # Errors
/// The name of the encoding for which the bytes are invalid.
pub fn unicode(bytes: &[u8]) -> Result<String, &'static str> {
    let (name, text) = match bytes {
        [0xff, 0xfe, 0, 0, rest @ ..] => ("UTF-32", utf_32(rest, u32::from_le_bytes)),
        [0, 0, 0xfe, 0xff, rest @ ..] => ("UTF-32", utf_32(rest, u32::from_be_bytes)),
        [0xff, 0xfe, rest @ ..] => ("UTF-16", utf_16(rest, UTF_16LE)),
        [0xfe, 0xff, rest @ ..] => ("UTF-16", utf_16(rest, UTF_16BE)),
        [0, 0, 0, 1..=255, ..] => ("UTF-32", utf_32(bytes, u32::from_be_bytes)),
        [1..=255, 0, 0, 0, ..] => ("UTF-32", utf_32(bytes, u32::from_le_bytes)),
        [0, 1..=255, ..] => ("UTF-16", utf_16(bytes, UTF_16BE)),
        [1..=255, 0, ..] => ("UTF-16", utf_16(bytes, UTF_16LE)),
        _ => ("UTF-8", std::str::from_utf8(bytes).ok().map(str::to_owned)),
    };
    let text = text.ok_or(name)?;
    Ok(text.trim_start_matches(BYTE_ORDER_MARK).to_owned())
}

fn utf_16(bytes: &[u8], encoding: &'static encoding_rs::Encoding) -> Option<String> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    Some(text.into_owned())
}

fn utf_32(bytes: &[u8], number: fn([u8; 4]) -> u32) -> Option<String> {
    let (quads, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    quads
        .iter()
        .map(|quad| char::from_u32(number(*quad)))
        .collect()
}

/// Tabs, line and page ends, and the mark with which old Windows programs end a file.
fn may_be_in_text(c: char) -> bool {
    matches!(c, '\t' | '\r' | '\u{b}' | '\u{c}' | '\u{1a}' | '\u{85}') || !c.is_control()
}

/// Files that people attach instead of a text file.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    let formats: [(&[u8], &str); 9] = [
        (b"PK\x03\x04", "a ZIP archive or an Office document"),
        (
            b"\xd0\xcf\x11\xe0",
            "an old Office document or an Outlook message",
        ),
        (b"{\\rtf", "an RTF document"),
        (b"%PDF-", "a PDF document"),
        (b"\x1f\x8b", "a compressed file (gzip)"),
        (b"\x89PNG", "a picture (PNG)"),
        (b"\xff\xd8\xff", "a picture (JPEG)"),
        (b"Rar!", "a RAR archive"),
        (b"7z\xbc\xaf", "a 7-Zip archive"),
    ];
    let found = formats.iter().find(|(start, _)| bytes.starts_with(start));
    found.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "LICENSE=grün – 漢字 😀\r\nnext\tline\n";

    fn utf_16_bytes(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    fn utf_32_bytes(text: &str, bytes: fn(u32) -> [u8; 4]) -> Vec<u8> {
        text.chars().map(u32::from).flat_map(bytes).collect()
    }

    #[test]
    fn every_unicode_encoding_is_read_with_and_without_a_byte_order_mark() {
        for mark in ["", "\u{feff}", "\u{feff}\u{feff}"] {
            let marked = format!("{mark}{TEXT}");
            for bytes in [
                marked.as_bytes().to_vec(),
                utf_16_bytes(&marked, u16::to_le_bytes),
                utf_16_bytes(&marked, u16::to_be_bytes),
                utf_32_bytes(&marked, u32::to_le_bytes),
                utf_32_bytes(&marked, u32::to_be_bytes),
            ] {
                assert_eq!(decode(&bytes).as_deref(), Ok(TEXT), "{bytes:x?}");
                assert_eq!(unicode(&bytes).as_deref(), Ok(TEXT), "{bytes:x?}");
            }
        }
        for empty in [&b""[..], b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"] {
            assert_eq!(decode(empty).as_deref(), Ok(""), "{empty:x?}");
        }
    }

    #[test]
    fn the_windows_code_page_is_the_last_choice() {
        let read = decode(b"\x97\x96BEGIN gr\xfcn \x80").unwrap();
        assert_eq!(read, "—–BEGIN grün €");
        assert_eq!(unicode(b"gr\xfcn"), Err("UTF-8"));
    }

    #[test]
    fn what_is_not_text_is_named() {
        for (bytes, named) in [
            (
                &b"PK\x03\x04rest"[..],
                "a ZIP archive or an Office document",
            ),
            (b"{\\rtf1\\ansi}", "an RTF document"),
            (b"%PDF-1.7", "a PDF document"),
            (b"\x1f\x8b\x08", "a compressed file (gzip)"),
            (b"\xff\xfea\0b", "damaged UTF-16 text"),
            (b"a\0b\0c", "damaged UTF-16 text"),
            (b"\xff\xfe\x00\xd8a\0", "damaged UTF-16 text"),
            (b"\xff\xfe\0\0a\0", "damaged UTF-32 text"),
            (b"one\ntwo \x01", "line 2 contains the character U+0001"),
            (b"one\0", "line 1 contains the character U+0000"),
            (b"gr\xfcn\0", "damaged UTF-8 text"),
        ] {
            let error = decode(bytes).unwrap_err().to_string();
            assert!(error.contains(named), "{bytes:x?}: {error}");
        }
    }
}
