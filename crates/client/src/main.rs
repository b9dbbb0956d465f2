//! `license-client`: see `license-client --help`.

use std::process::ExitCode;

use license_client::cli::{self, Cli};
use license_service::dot_env;

fn main() -> ExitCode {
    // Before any thread is started: this sets environment variables.
    if let Err(error) = dot_env::load() {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    let cli = Cli::parse_or_exit();
    match cli::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
