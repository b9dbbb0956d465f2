//! `license-client health`

use std::process::ExitCode;

use clap::Args;

use crate::cli::NO;
use crate::running_service::ServiceArgs;

#[derive(Debug, Args)]
pub(super) struct Health {
    /// Check whether the service is ready, including its database, rather than only whether it is
    /// running
    #[arg(long)]
    ready: bool,

    #[command(flatten)]
    service: ServiceArgs,
}

pub(super) async fn run(command: &Health) -> anyhow::Result<ExitCode> {
    let path = if command.ready { "/readyz" } else { "/health" };
    let answer = command.service.get(path).await?;
    if !command.service.print_json(&answer) {
        match (command.ready, answer.ok) {
            (false, true) => println!("healthy"),
            (true, true) => println!("ready"),
            (_, false) => println!("not ready: {}", answer.text("database")),
        }
    }
    Ok(if answer.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NO)
    })
}
