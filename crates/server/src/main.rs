//! `license-server`: see `license-server --help`.

use std::process::ExitCode;

use license_server::cli::{self, Cli};
use license_service::dot_env;

fn main() -> ExitCode {
    license_service::stdout::end_quietly_when_it_is_closed();
    // Before any thread is started: this sets environment variables.
    let done = dot_env::load().and_then(|_| cli::run(Cli::parse_or_exit()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
