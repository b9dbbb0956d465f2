//! Where what we ship is, and what tests have installed.

use std::path::{Path, PathBuf};

/// A file of the repository.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
        .canonicalize()
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text of a file of the repository, with other addresses in it. Each has
/// to be there.
pub fn with(path: &str, replacements: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(file(path)).unwrap();
    for (from, to) in replacements {
        assert!(text.contains(from), "{path} has no {from}");
        text = text.replace(from, to);
    }
    text
}

/// What 'cargo xtask test' has installed from the package registries.
pub fn installed(path: &str) -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/gateways")
        .join(path);
    installed
        .canonicalize()
        .unwrap_or_else(|error| panic!("{path}: {error}; 'cargo xtask test' installs it"))
}
