//! Settings from the environment.

use std::ffi::OsStr;

use clap::Command;
use clap::builder::Resettable;

/// Takes variables that are set to nothing as not set: compose files pass on
/// what is not there.
#[must_use]
pub fn without_empty_variables(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let is_empty = argument.get_env().is_some_and(is_set_to_nothing);
            if is_empty {
                argument.env(Resettable::Reset)
            } else {
                argument
            }
        })
        .mut_subcommands(without_empty_variables)
}

#[expect(clippy::disallowed_methods, reason = "this is where settings come in")]
fn is_set_to_nothing(variable: &OsStr) -> bool {
    std::env::var_os(variable).is_some_and(|value| value.is_empty())
}
