//! `license-client`: see `license-client --help`.

use std::process::ExitCode;

use license_client::cli::{self, Cli};

fn main() -> ExitCode {
    // Before any thread is started: this sets environment variables.
    if let Err(error) = cli::load_dot_env() {
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
