//! Why a path is refused, and the limits of paths.

/// Maximum length of a path, in bytes, without its query.
pub const MAX_PATH_BYTES: usize = 8 * 1024;
/// Most segments of a path, empty ones included.
pub const MAX_SEGMENTS: usize = 64;
/// Most places of a path that services may read differently: escaped
/// separators, parameters, and bytes that are not UTF-8. Adjacent bytes are one
/// place.
pub const MAX_ODD_PLACES: usize = 32;

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
    /// More than [`MAX_ODD_PLACES`], or so many ways to read the path that they
    /// are not all compared.
    #[error("the path can be read in too many ways")]
    TooOdd,
    /// A percent sign is not followed by two hexadecimal digits, or the bytes
    /// that the escapes stand for are not UTF-8.
    #[error("the path contains an invalid escape")]
    BadEscape,
    /// Escapes stand for escapes, again and again.
    #[error("the path is escaped too often")]
    EscapedTooOften,
    /// It holds a character that no path has.
    #[error("the path contains a control character")]
    ControlCharacter,
    /// It contains a character that has to be escaped in a path (RFC 3986,
    /// section 3.3), and that some services cut the path at or replace.
    #[error("the path contains a space, '#' or '\\', which must be percent-encoded")]
    ForbiddenCharacter,
    /// It leads out of the root.
    #[error("the path leads above the root")]
    AboveRoot,
    /// Services read it differently, and that makes a difference.
    #[error("the path may be read in ways that need different features")]
    Ambiguous,
}
