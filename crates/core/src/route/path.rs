//! A path in its plainest form, and why a path is refused.

use super::text::{MAX_ROUNDS, Text};

/// Longest path that is read, in bytes, without its query.
pub const LONGEST_PATH: usize = 8 * 1024;
/// Most segments of a path, empty ones included.
pub const MAX_SEGMENTS: usize = 64;
/// Most places of a path that services may read differently: escaped
/// separators, parameters, and bytes that are not UTF-8. Adjacent bytes are one
/// place.
pub const MAX_ODD_PLACES: usize = 32;

/// A path in its plainest form: its segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainPath(pub(super) Vec<String>);

/// Why a path is none that an honest client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// Longer than [`LONGEST_PATH`].
    #[error("the path is longer than {LONGEST_PATH} bytes")]
    TooLong,
    /// More than [`MAX_SEGMENTS`].
    #[error("the path has more than {MAX_SEGMENTS} segments")]
    TooManySegments,
    /// More than [`MAX_ODD_PLACES`], or so many ways to read the path that they
    /// are not all compared.
    #[error("the path can be read in too many ways")]
    TooOdd,
    /// A percent sign is not followed by two hexadecimal digits, or the bytes
    /// that the escapes stand for are not UTF-8.
    #[error("the path holds an escape that stands for nothing")]
    BadEscape,
    /// Escapes stand for escapes, again and again.
    #[error("the path is escaped too often")]
    EscapedTooOften,
    /// It holds a character that no path has.
    #[error("the path holds a control character")]
    ControlCharacter,
    /// It contains a character that has to be escaped in a path (RFC 3986,
    /// section 3.3), and that some services cut the path at or replace.
    #[error("the path contains a space, '#' or '\\', which have to be percent-encoded")]
    ForbiddenCharacter,
    /// It leads out of the root.
    #[error("the path leads out of the root")]
    AboveRoot,
    /// Services read it differently, and that makes a difference.
    #[error("the path may be read in ways that need different features")]
    Ambiguous,
}

impl PlainPath {
    /// Brings a path, with or without a query, to its plainest form: escapes
    /// are undone, also those of slashes and dots and those within escapes; an
    /// escaped backslash is a slash; `.` and empty segments are left out, `..`
    /// is followed; parameters behind a semicolon are cut off.
    ///
    /// # Errors
    /// One [`PathError`] for each reason to refuse it.
    pub fn parse(raw: &str) -> Result<Self, PathError> {
        let path = path_of(raw.as_bytes())?;
        let mut text = Text::raw(path);
        text.check()?;
        for round in 1.. {
            let Some(next) = text.unescaped(round) else {
                break;
            };
            if round > MAX_ROUNDS {
                return Err(PathError::EscapedTooOften);
            }
            text = next;
            text.check()?;
        }
        if text.has_unknown() {
            return Err(PathError::BadEscape);
        }
        let text = std::str::from_utf8(text.bytes()).map_err(|_| PathError::BadEscape)?;
        let mut segments: Vec<String> = Vec::new();
        for segment in text.split(['/', '\\']) {
            let segment = segment.split(';').next().unwrap_or_default();
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop().ok_or(PathError::AboveRoot)?;
                }
                segment => segments.push(segment.to_owned()),
            }
        }
        Ok(Self(segments))
    }

    /// The segments, without slashes.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.0
    }
}

/// The path of a request target, without its query, if its raw bytes may be
/// those of a path.
pub(super) fn path_of(raw: &[u8]) -> Result<&[u8], PathError> {
    // The query begins at the first question mark and nowhere else.
    let path = raw.split(|byte| *byte == b'?').next().unwrap_or_default();
    if path.len() > LONGEST_PATH {
        return Err(PathError::TooLong);
    }
    if !path.starts_with(b"/") {
        return Err(PathError::NotAbsolute);
    }
    for byte in path {
        match byte {
            b' ' | b'#' | b'\\' => return Err(PathError::ForbiddenCharacter),
            byte if byte.is_ascii_control() => return Err(PathError::ControlCharacter),
            _ => {}
        }
    }
    Ok(path)
}
