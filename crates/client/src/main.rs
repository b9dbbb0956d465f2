//! `license-client`: see `license-client --help`.

use std::process::ExitCode;

use license_client::cli::{self, Cli};
use license_service::dot_env;

fn main() -> ExitCode {
    license_service::stdout::end_quietly_when_it_is_closed();
    // Before any thread is started: this sets environment variables.
    let from_file = match dot_env::load() {
        Ok(variables) => variables,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    match cli::run(Cli::parse_or_exit(), &from_file) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
