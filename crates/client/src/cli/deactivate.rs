//! `license-client deactivate`

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::running_service::ServiceArgs;

#[derive(Debug, Args)]
pub(super) struct Deactivate {
    /// Deactivate even if the License Server cannot be reached; the vendor must then free the seat
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    service: ServiceArgs,
}

pub(super) async fn run(command: Deactivate) -> anyhow::Result<ExitCode> {
    let body = json!({ "force": command.force });
    let answer = command
        .service
        .post("/api/license/deactivate", Some(body))
        .await?;
    if !answer.ok {
        return Err(answer.into_error());
    }
    if !command.service.print_json(&answer) {
        println!("{}", answer.text("message"));
    }
    Ok(ExitCode::SUCCESS)
}
