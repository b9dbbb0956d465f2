//! Reads text files that settings and commands name, in any encoding that a desktop produces.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context as _;
use license_core::text_encoding::decode;

use crate::presentable_url::presentable_path;
use crate::regular_file;

/// Maximum size of a file, in bytes.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Reads a text file that a setting names: see [`regular_file`].
///
/// # Errors
/// If it cannot be read, is not a regular file, is larger than 16 MiB, or is not text.
pub fn read(file: &Path) -> io::Result<String> {
    read_regular(file, MAX_FILE_BYTES)
}

/// Reads a text file, or the output of another program, that an argument of a command names.
///
/// # Errors
/// If it cannot be read, is larger than this, or is not text.
pub fn read_any(file: &Path, max_bytes: u64) -> io::Result<String> {
    read_from(File::open(file)?, max_bytes)
}

/// As [`read`], with another maximum size.
///
/// # Errors
/// As [`read`].
pub fn read_regular(file: &Path, max_bytes: u64) -> io::Result<String> {
    read_from(regular_file::open(file)?, max_bytes)
}

/// The same for an open file.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_from(input: impl Read, max_bytes: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    input.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let error = format!("it is longer than {max_bytes} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
    }
    decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads the file that an argument of a command names; `-` is standard input.
///
/// # Errors
/// As [`read`], with the name.
pub fn read_argument(file: &Path) -> anyhow::Result<String> {
    let (name, text) = match file.as_os_str() == "-" {
        true => {
            let input = io::stdin().lock();
            (
                "standard input".to_owned(),
                read_from(input, MAX_FILE_BYTES),
            )
        }
        false => (
            format!("'{}'", presentable_path(file)),
            read_any(file, MAX_FILE_BYTES),
        ),
    };
    text.with_context(|| format!("{name} cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_in_any_encoding_and_bounded() {
        let read = |bytes: &[u8]| read_from(bytes, 16).map_err(|error| error.to_string());
        assert_eq!(read(b"\xff\xfea\0"), Ok("a".to_owned()));
        assert_eq!(read(b"\xef\xbb\xbfK\xc3\xb6ln"), Ok("Köln".to_owned()));
        let archive = read(b"PK\x03\x04").unwrap_err();
        assert!(archive.contains("a ZIP archive"), "{archive}");
        let endless = read_from(io::repeat(b'x'), 16).unwrap_err();
        assert_eq!(endless.to_string(), "it is longer than 16 bytes");
    }
}
