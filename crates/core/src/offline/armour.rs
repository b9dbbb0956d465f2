//! The armour of files, and what an e-mail may do to it.

use crate::pasted_text::{half_width, is_dash, is_invisible, kind_of_text, shown, without_markup};
use crate::text_encoding::NotText;

/// Maximum size of a file, in bytes.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;
/// What stands between the documents of a file; no document holds it.
pub(super) const BETWEEN: char = '~';
/// Characters in a line of a file.
const LINE: usize = 64;
/// What the label of a request says.
pub(super) const REQUEST: &str = "FOXSIGHT LICENSE REQUEST";
/// What the label of an answer says.
pub(super) const ANSWER: &str = "FOXSIGHT LICENSE FILE";

/// Why a text is not a file of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Longer than [`MAX_FILE_BYTES`].
    #[error("the file has {bytes} bytes, the maximum is {MAX_FILE_BYTES}")]
    TooLong {
        /// Length found.
        bytes: usize,
    },
    /// It is no text.
    #[error(transparent)]
    NotText(#[from] NotText),
    /// There is no line that begins an armour.
    #[error("not a license or request file: line '-----BEGIN {expected}-----' is missing")]
    NotAFile {
        /// The label that was looked for.
        expected: &'static str,
    },
    /// Something that people have at hand beside such files.
    #[error("the file is {found}, expected a '{expected}'")]
    SomethingElse {
        /// The label that was looked for.
        expected: &'static str,
        /// What the file is.
        found: &'static str,
    },
    /// A file of ours, but of the other kind.
    #[error("the file is a '{found}', expected a '{expected}'")]
    OtherKind {
        /// The label that was looked for.
        expected: &'static str,
        /// The label that was found.
        found: &'static str,
    },
    /// The line that ends the armour is missing.
    #[error("the file is cut off: the line '-----END {expected}-----' is missing; copy it again")]
    Truncated {
        /// The label.
        expected: &'static str,
    },
    /// What is inside the armour cannot be read.
    #[error("the file is damaged ({0}); copy it again")]
    Damaged(String),
}

/// No two hyphens stand together in a line: word processors make one dash of them.
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

/// What is inside the armour, at most `max_chars`, without the signs that fill up base64.
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
        // A page of a mail program. Only then: a text may contain signs of markup, too.
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
    // What is inside neither begins nor ends with a hyphen. `=3D` is how mail programs
    // write the sign that fills up base64, and one at the end of a line is theirs.
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

/// A line of an armour as [`carried`] leaves it, with the least of its hyphens.
fn line(word: &str, label: &str) -> String {
    format!("-{word}{}-", label.replace(' ', ""))
}

/// The text without what carrying it has added: white space, invisible characters and
/// the marks of a quotation, and with hyphens for all dashes.
fn carried(text: &str) -> String {
    let mut carried = String::with_capacity(text.len());
    for c in text.chars().map(half_width) {
        match c {
            '!'..='=' | '?'..='~' => carried.push(c),
            '>' => {}
            c if c.is_whitespace() || is_invisible(c) => {}
            // Made of two hyphens.
            '\u{2013}'..='\u{2015}' => carried.push_str("--"),
            c if is_dash(c) => carried.push('-'),
            c => carried.push(c),
        }
    }
    carried
}
