//! Environment variables that configure PostgreSQL's own programs.
//!
//! The database library would use them for everything that `DATABASE_URL` leaves open, and no
//! command or page would show it. A process cannot safely remove its own variables, so the
//! program is started again without them.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;

use crate::stderr::say;

/// Those that the library reads (`sqlx-postgres` 0.9.0, `PgConnectOptions::new_without_pgpass`
/// and `load_password`).
const VARIABLES: [&str; 13] = [
    "PGAPPNAME",
    "PGDATABASE",
    "PGHOST",
    "PGHOSTADDR",
    "PGOPTIONS",
    "PGPASSFILE",
    "PGPASSWORD",
    "PGPORT",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "PGUSER",
];

/// Whether the variable is ignored.
pub(crate) fn is_ignored(name: &str) -> bool {
    VARIABLES.contains(&name)
}

/// Says which variables are ignored, if there are any.
pub(crate) fn warn(names: &[&str]) {
    if !names.is_empty() {
        let names = names.join(", ");
        say(format_args!(
            "warning: ignoring {names}: only DATABASE_URL determines how to connect to the database"
        ));
    }
}

/// Starts the program again, as the same process, if one of the variables is set.
///
/// # Errors
/// If it cannot be started again.
#[expect(clippy::disallowed_methods, reason = "this is where settings come in")]
pub(crate) fn restart_without() -> anyhow::Result<()> {
    let set = VARIABLES.into_iter();
    let set: Vec<_> = set.filter(|name| env::var_os(name).is_some()).collect();
    if set.is_empty() {
        return Ok(());
    }
    warn(&set);
    let failed = || format!("cannot ignore {}; unset it", set.join(", "));
    let mut command = Command::new(env::current_exe().with_context(failed)?);
    let mut arguments = env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments);
    for name in &set {
        command.env_remove(name);
    }
    Err(command.exec()).with_context(failed)
}
