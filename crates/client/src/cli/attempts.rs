//! `license-client attempts`

use std::process::ExitCode;

use clap::Args;

use crate::running_service::ServiceArgs;

#[derive(Debug, Args)]
pub(super) struct Attempts {
    /// Maximum number of entries, 1 to 500
    #[arg(long, default_value_t = 20)]
    limit: u64,

    #[command(flatten)]
    service: ServiceArgs,
}

pub(super) async fn run(command: Attempts) -> anyhow::Result<ExitCode> {
    let path = format!("/api/license/attempts?limit={}", command.limit);
    let answer = command.service.get(&path).await?;
    if !answer.ok {
        return Err(answer.into_error());
    }
    if !command.service.print_json(&answer) {
        for attempt in answer.body["attempts"].as_array().into_iter().flatten() {
            let text = |field: &str| attempt[field].as_str().unwrap_or("-");
            println!(
                "{}  {:<7}  {}  {}",
                text("attemptedAt"),
                text("result"),
                text("licenseKey"),
                text("errorMessage")
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
