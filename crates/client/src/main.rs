//! `license-client`: see `license-client --help`.
#![warn(clippy::print_stderr)]

use std::process::ExitCode;

use clap::CommandFactory as _;
use license_client::cli::{self, Cli};
use license_service::error_text::with_causes;
use license_service::stdout::{end_quietly_when_it_is_closed, say_error};
use license_service::variables;

fn main() -> ExitCode {
    end_quietly_when_it_is_closed();
    // Before any thread is started: this sets environment variables.
    let from_file = match variables::load(&Cli::command()) {
        Ok(variables) => variables,
        Err(error) => {
            say_error(with_causes(&*error));
            return ExitCode::FAILURE;
        }
    };
    match cli::run(Cli::parse_or_exit(), &from_file) {
        Ok(code) => code,
        Err(error) => {
            say_error(with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}
