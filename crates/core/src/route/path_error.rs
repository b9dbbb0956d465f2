//! Why a path is refused, and the limits of paths.

/// Maximum length of a path, in bytes, without its query.
pub const MAX_PATH_BYTES: usize = 8 * 1024;
/// Maximum number of segments of a path, including empty ones.
pub const MAX_SEGMENTS: usize = 64;
/// Maximum number of places in a path that services may read differently: escaped separators,
/// parameters, and bytes that are not UTF-8. Adjacent bytes count as one place.
pub const MAX_AMBIGUOUS_PLACES: usize = 32;

/// Why a path is not one that a legitimate client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// Longer than [`MAX_PATH_BYTES`].
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
    /// More than [`MAX_SEGMENTS`].
    #[error("the path has more than {MAX_SEGMENTS} segments")]
    TooManySegments,
    /// More than [`MAX_AMBIGUOUS_PLACES`], or too many ways to read the path to compare all of them.
    #[error("the path can be interpreted in too many ways")]
    TooAmbiguous,
    /// A percent sign is not followed by two hexadecimal digits, or the decoded bytes are not
    /// UTF-8.
    #[error("the path contains an invalid escape")]
    BadEscape,
    /// Escapes decode to escapes too many times.
    #[error("the path is escaped too many times")]
    EscapedTooOften,
    /// It contains a character that no path has.
    #[error("the path contains a control character")]
    ControlCharacter,
    /// It contains a character that has to be escaped in a path (RFC 3986, section 3.3), and at
    /// which some services truncate the path, or which they replace.
    #[error("the path contains a space, '#' or '\\', which must be percent-encoded")]
    ForbiddenCharacter,
    /// It leads above the root.
    #[error("the path leads above the root")]
    AboveRoot,
    /// Services read it differently, and their readings need different features.
    #[error("the path can be interpreted in ways that require different features")]
    Ambiguous,
}
