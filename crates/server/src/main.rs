//! `license-server`: see `license-server --help`.
#![warn(clippy::print_stderr)]

use std::process::ExitCode;

use clap::CommandFactory as _;
use license_server::cli::{self, Cli};
use license_service::error_text::with_causes;
use license_service::stdout::{end_quietly_when_it_is_closed, say_error};
use license_service::variables;

fn main() -> ExitCode {
    end_quietly_when_it_is_closed();
    // Before any thread is started: this sets environment variables.
    let loaded = variables::load(&Cli::command());
    let done = loaded.and_then(|dot_env| cli::run(Cli::parse_or_exit(), &dot_env));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}
