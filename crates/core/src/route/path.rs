//! A path in its plainest form.

use super::path_error::{MAX_PATH_BYTES, PathError};
use super::text::{MAX_ROUNDS, Text, has_ascii_control};

/// A path in its plainest form: its segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainPath(pub(super) Vec<String>);

impl PlainPath {
    /// Converts a path, with or without a query, to its plainest form: escapes are decoded,
    /// including those of slashes and dots and nested ones; an escaped backslash is a slash; `.`
    /// and empty segments are left out, `..` is followed; parameters behind a semicolon are cut
    /// off.
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

/// The path of a request target, without its query, if its raw bytes are valid in a path.
pub(super) fn path_of(raw: &[u8]) -> Result<&[u8], PathError> {
    // The query begins at the first question mark and nowhere else.
    let path = raw.split(|byte| *byte == b'?').next().unwrap_or_default();
    if path.len() > MAX_PATH_BYTES {
        return Err(PathError::TooLong);
    }
    if !path.starts_with(b"/") {
        return Err(PathError::NotAbsolute);
    }
    if [b' ', b'#', b'\\'].iter().any(|byte| path.contains(byte)) {
        return Err(PathError::ForbiddenCharacter);
    }
    if has_ascii_control(path) {
        return Err(PathError::ControlCharacter);
    }
    Ok(path)
}
