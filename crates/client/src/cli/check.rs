//! `license-client check FEATURE…`

use std::process::ExitCode;

use clap::Args;
use license_console::escaped;
use serde_json::json;

use crate::cli::NO;
use crate::http::license::NO_LICENSE;
use crate::running_service::ServiceArgs;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Feature keys, such as `module.map_view`
    #[arg(required = true, value_name = "FEATURE")]
    features: Vec<String>,

    #[command(flatten)]
    service: ServiceArgs,
}

pub(super) async fn run(command: Check) -> anyhow::Result<ExitCode> {
    let mut all = true;
    let mut has_no_license = false;
    let mut answers = Vec::new();
    for feature in &command.features {
        let body = json!({ "featureKey": feature });
        let answer = command
            .service
            .ask("/api/license/feature/check", body)
            .await?;
        if !answer.ok {
            return Err(answer.into_error());
        }
        all &= answer.flag("available");
        has_no_license |= answer.text("reason") == "no_license";
        if !command.service.json {
            let word = if answer.flag("available") {
                "yes"
            } else {
                "no "
            };
            println!("{word}  {feature}  ({})", answer.text("reason"));
        }
        answers.push(answer.received);
    }
    // The reason stays the same while the license cannot be read.
    if has_no_license && !command.service.json {
        let status = command.service.get("/api/license/status").await?;
        let message = status.text("message");
        if message != NO_LICENSE {
            println!("{message}");
        }
    }
    if command.service.json {
        println!("{}", escaped::json(&answers)?);
    }
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NO)
    })
}
