//! Text files that settings name, in the encodings that editors save.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Reads a file that is UTF-8, or UTF-16 of either byte order, with or without a
/// byte order mark.
///
/// # Errors
/// When it cannot be read, is longer than 16 MiB, or is in another encoding.
pub fn read(file: &Path) -> io::Result<String> {
    read_within(file, MAX_FILE_BYTES)
}

/// The same within another bound.
///
/// # Errors
/// As [`read`].
pub fn read_within(file: &Path, max_bytes: u64) -> io::Result<String> {
    read_from(File::open(file)?, max_bytes)
}

/// The same for a file that is open.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_from(file: File, max_bytes: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let error = format!("it is longer than {max_bytes} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
    }
    decode(bytes)
}

/// Decodes what was in a file.
///
/// # Errors
/// `InvalidData`, with the encoding that was recognised, where it is no text.
pub fn decode(mut bytes: Vec<u8>) -> io::Result<String> {
    let wrong = |why: &str| {
        let error = format!("{why}; save it as UTF-8");
        io::Error::new(io::ErrorKind::InvalidData, error)
    };
    let little = |pair: [u8; 2]| u16::from_le_bytes(pair);
    let big = |pair: [u8; 2]| u16::from_be_bytes(pair);
    let utf_16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        let text = String::from_utf16(&units).ok();
        text.filter(|_| rest.is_empty())
            .ok_or_else(|| wrong("it looks like UTF-16 but is damaged"))
    };
    let text = match *bytes.as_slice() {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Err(wrong("it is UTF-32")),
        [0xff, 0xfe, ref rest @ ..] => utf_16(rest, little)?,
        [0xfe, 0xff, ref rest @ ..] => utf_16(rest, big)?,
        // ASCII without a mark, such as every setting and PEM begins with.
        [1..=255, 0, ..] => utf_16(&bytes, little)?,
        [0, 1..=255, ..] => utf_16(&bytes, big)?,
        _ => {
            if bytes.starts_with(b"\xef\xbb\xbf") {
                bytes.drain(..3);
            }
            String::from_utf8(bytes).map_err(|error| {
                let at = error.utf8_error().valid_up_to();
                wrong(&format!("it is neither UTF-8 nor UTF-16 (byte {at})"))
            })?
        }
    };
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_that_an_editor_saves_is_the_same_text() {
        let text = "NAME=Köln 🦊\r\n";
        let units = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect();
        let (little, big): (Vec<u8>, Vec<u8>) = (units(u16::to_le_bytes), units(u16::to_be_bytes));
        let marked = |mark: &[u8], rest: &[u8]| [mark, rest].concat();
        for bytes in [
            text.into(),
            marked(b"\xef\xbb\xbf", text.as_bytes()),
            marked(b"\xff\xfe", &little),
            marked(b"\xfe\xff", &big),
            little,
            big,
        ] {
            assert_eq!(decode(bytes.clone()).unwrap(), text, "{bytes:?}");
        }
        assert_eq!(decode(Vec::new()).unwrap(), "");
    }

    #[test]
    fn what_is_no_such_text_is_named() {
        for (bytes, why) in [
            (
                &b"NAME=K\xf6ln"[..],
                "neither UTF-8 nor UTF-16 (byte 6); save it as UTF-8",
            ),
            (b"\xff\xfeA\0B", "looks like UTF-16 but is damaged"),
            (b"\xff\xfe\0\xd8", "looks like UTF-16 but is damaged"),
            (b"\xff\xfe\0\0A\0\0\0", "UTF-32"),
        ] {
            let error = decode(bytes.to_vec()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
