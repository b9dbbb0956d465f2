//! The text of a license file.

use super::armour::{ANSWER, BETWEEN, FileError, MAX_FILE_BYTES, armour, unarmour};

/// A signed document as a license file, with the signed key sets that the site may need to verify
/// it.
#[must_use]
pub fn to_file(key_sets: &[impl AsRef<str>], jws: &str) -> String {
    let mut inside = String::new();
    for key_set in key_sets {
        inside.push_str(key_set.as_ref());
        inside.push(BETWEEN);
    }
    inside.push_str(jws);
    armour(ANSWER, &inside)
}

/// The key sets and the document in a license file. Nothing is verified yet.
///
/// # Errors
/// One [`FileError`] for each reason.
pub fn from_file(text: &str) -> Result<(Vec<String>, String), FileError> {
    let inside = unarmour(ANSWER, text, MAX_FILE_BYTES)?;
    let mut documents: Vec<String> = inside.split(BETWEEN).map(str::to_owned).collect();
    let document = documents.pop().unwrap_or_default();
    Ok((documents, document))
}
