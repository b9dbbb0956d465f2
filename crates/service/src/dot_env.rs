//! Settings from a file.

use std::path::Path;

use anyhow::Context as _;

/// Reads `.env` of the current directory, if there is one, into the
/// environment. Variables that are already set keep their values.
///
/// Call it before any thread is started: it sets environment variables.
///
/// # Errors
/// When the file cannot be read or a line is malformed.
pub fn load() -> anyhow::Result<()> {
    let file = Path::new(".env");
    if !file.exists() {
        return Ok(());
    }
    dotenvy::from_path(file).context("the file .env cannot be read")
}
