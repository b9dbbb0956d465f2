//! The armour of files, and what an e-mail may do to it.

use crate::pasted_text::{half_width, is_dash, is_invisible, kind_of_text, shown, without_markup};
use crate::text_encoding::NotText;

/// Maximum size of a file, in bytes.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;
/// Separates the documents of a file; no document contains it.
pub(super) const BETWEEN: char = '~';
/// Number of characters in a line of a file.
const LINE: usize = 64;
/// The label of a request file.
pub(super) const REQUEST: &str = "FOXSIGHT LICENSE REQUEST";
/// The label of a license file.
pub(super) const ANSWER: &str = "FOXSIGHT LICENSE FILE";

/// Why a text is not a license or request file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Longer than [`MAX_FILE_BYTES`].
    #[error("the file is {bytes} bytes long; the maximum is {MAX_FILE_BYTES}")]
    TooLong {
        /// The actual length.
        bytes: usize,
    },
    /// It is no text.
    #[error(transparent)]
    NotText(#[from] NotText),
    /// There is no line that begins the armor.
    #[error("not a license or request file: the line '-----BEGIN {expected}-----' is missing")]
    NotAFile {
        /// The expected label.
        expected: &'static str,
    },
    /// Something that people have at hand beside such files.
    #[error("the file is {found}; expected a '{expected}'")]
    SomethingElse {
        /// The expected label.
        expected: &'static str,
        /// What the file is.
        found: &'static str,
    },
    /// A file of the other of the two kinds.
    #[error("the file is a '{found}'; expected a '{expected}'")]
    OtherKind {
        /// The expected label.
        expected: &'static str,
        /// The label that was found.
        found: &'static str,
    },
    /// The line that ends the armor is missing.
    #[error("the file is truncated: the line '-----END {expected}-----' is missing; copy it again")]
    Truncated {
        /// The label.
        expected: &'static str,
    },
    /// The content of the armor cannot be read.
    #[error("the file is damaged ({0}); copy it again")]
    Damaged(String),
}

/// No line contains two adjacent hyphens: word processors turn them into one dash.
pub(super) fn armour(label: &str, inside: &str) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut line = String::new();
    for c in inside.chars() {
        if line.len() == LINE || (line.ends_with('-') && c == '-') {
            text.push_str(&line);
            text.push('\n');
            line.clear();
        }
        line.push(c);
    }
    text.push_str(&line);
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

/// The content of the armor, at most `max_chars`, without base64 padding.
pub(super) fn unarmour(
    label: &'static str,
    text: &str,
    max_chars: usize,
) -> Result<String, FileError> {
    if text.len() > MAX_FILE_BYTES {
        return Err(FileError::TooLong { bytes: text.len() });
    }
    within_armour(label, text, max_chars).or_else(|error| {
        if !text.contains(['<', '&']) {
            return Err(error);
        }
        // An HTML page saved by a mail program. Only tried after other readings fail, because a
        // plain text may contain `<`, too.
        let stripped = without_markup(text);
        within_armour(label, &stripped, max_chars).map_err(|_| error)
    })
}

fn within_armour(
    expected: &'static str,
    text: &str,
    max_chars: usize,
) -> Result<String, FileError> {
    let carried = carried(text);
    let after = |label: &str| carried.split_once(&line("BEGIN", label)).map(|(_, it)| it);
    let Some(after) = after(expected) else {
        let other = [REQUEST, ANSWER].into_iter().find(|it| after(it).is_some());
        return Err(match (other, kind_of_text(text)) {
            (Some(found), _) => FileError::OtherKind { expected, found },
            (None, Some(found)) => FileError::SomethingElse { expected, found },
            (None, None) => FileError::NotAFile { expected },
        });
    };
    let (inside, _) = after
        .split_once(&line("END", expected))
        .ok_or(FileError::Truncated { expected })?;
    // The content neither begins nor ends with a hyphen. `=3D` is how mail programs encode the
    // padding of base64, and an equals sign at the end of a line is theirs.
    let inside = inside.trim_matches('-').replace("=3D", "=");
    let mut kept = String::new();
    for c in inside.chars().filter(|c| *c != '=') {
        let is_ours = c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_' | '.');
        if !is_ours && c != BETWEEN {
            let odd = shown(c);
            return Err(FileError::Damaged(format!(
                "it contains the character {odd}"
            )));
        }
        if kept.len() == max_chars {
            return Err(FileError::Damaged(format!(
                "it has more than {max_chars} characters"
            )));
        }
        kept.push(c);
    }
    Ok(kept)
}

/// A line of armor as [`carried`] returns it, with as few hyphens as it may have.
fn line(word: &str, label: &str) -> String {
    format!("-{word}{}-", label.replace(' ', ""))
}

/// The text without what was added in transit: white space, invisible characters and quotation
/// markers; and with hyphens instead of all dashes.
fn carried(text: &str) -> String {
    let mut carried = String::with_capacity(text.len());
    for c in text.chars().map(half_width) {
        match c {
            '!'..='=' | '?'..='~' => carried.push(c),
            '>' => {}
            c if c.is_whitespace() || is_invisible(c) => {}
            // A dash that replaces two hyphens.
            '\u{2013}'..='\u{2015}' => carried.push_str("--"),
            c if is_dash(c) => carried.push('-'),
            c => carried.push(c),
        }
    }
    carried
}
