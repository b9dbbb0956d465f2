//! What this machine reports about itself.
//!
//! Everything is read from files of the kernel, below a root that tests replace. Unreadable values
//! are absent, never an error: a locked-down container can report little.

pub mod components;
pub mod system;
pub mod version_1;

use std::fs;
use std::path::Path;

/// The text of a file without surrounding white space; `None` if it is empty.
fn line(root: &Path, path: &str) -> Option<String> {
    let text = fs::read_to_string(root.join(path)).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The names in a directory, sorted.
fn names(root: &Path, path: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join(path)).into_iter().flatten();
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}
