//! Settings from a file.

use std::path::Path;

use anyhow::Context as _;

/// Reads `.env` of the current directory, if there is one, into the
/// environment, and answers which variables it has set. Those that are already
/// set keep their values.
///
/// Call it before any thread is started: it sets environment variables.
///
/// # Errors
/// When the file cannot be read or a line is malformed.
pub fn load() -> anyhow::Result<Vec<String>> {
    let file = Path::new(".env");
    if !file.exists() {
        return Ok(Vec::new());
    }
    let unreadable = "the file .env cannot be read";
    let mut set = Vec::new();
    for variable in dotenvy::from_path_iter(file).context(unreadable)? {
        let (name, _) = variable.context(unreadable)?;
        if !is_set(&name) {
            set.push(name);
        }
    }
    dotenvy::from_path(file).context(unreadable)?;
    Ok(set)
}

#[expect(clippy::disallowed_methods, reason = "this is where settings come in")]
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}
