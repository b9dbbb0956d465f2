//! `license-client limits [RESOURCE [REQUESTED]]`

use std::process::ExitCode;

use clap::Args;
use license_console::escaped;
use license_core::usage::Resource;
use serde_json::json;

use crate::cli::NO;
use crate::running_service::ServiceArgs;

#[derive(Debug, Args)]
pub(super) struct Limits {
    /// `cameras`, `users` or `storage_gb`; default is all three
    resource: Option<String>,

    /// How many more to add
    #[arg(default_value_t = 1)]
    requested: u64,

    #[command(flatten)]
    service: ServiceArgs,
}

pub(super) async fn run(command: Limits) -> anyhow::Result<ExitCode> {
    let (resources, requested) = match command.resource {
        Some(resource) => (vec![resource], command.requested),
        // Nothing is to be added: shows the current usage.
        None => (Resource::ALL.map(|r| r.as_str().to_owned()).to_vec(), 0),
    };
    let is_list = requested == 0;
    let mut all = true;
    let mut answers = Vec::new();
    for resource in resources {
        let body = json!({"resource": resource, "requested": requested});
        let path = "/api/license/limits/check";
        let answer = command.service.ask(path, body).await?;
        if !answer.ok {
            return Err(answer.into_error());
        }
        let is_over = answer.text("reason") == "over_limit";
        all &= answer.flag("allowed") && !is_over;
        if !command.service.json {
            let word = match answer.flag("allowed") {
                true if is_over => "over",
                true if is_list => "ok  ",
                true => "yes ",
                false => "no  ",
            };
            println!(
                "{word} {}  ({})",
                answer.text("message"),
                answer.text("reason")
            );
        }
        answers.push(answer.received);
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
