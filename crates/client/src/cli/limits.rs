//! `license-client limits [RESOURCE [REQUESTED]]`

use std::process::ExitCode;

use clap::Args;
use license_console::escaped;
use serde_json::{Value, json};

use crate::cli::NO;
use crate::running_service::ServiceArgs;

#[derive(Debug, Args)]
pub(super) struct Limits {
    /// `cameras`, `users`, `storage_gb`, or the key of anything else that a license limits; default
    /// is all
    resource: Option<String>,

    /// How many more to add
    #[arg(default_value_t = 1)]
    requested: u64,

    #[command(flatten)]
    service: ServiceArgs,
}

pub(super) async fn run(command: Limits) -> anyhow::Result<ExitCode> {
    let (answer, is_list) = match command.resource {
        Some(resource) => {
            let body = json!({"resource": resource, "requested": command.requested});
            let path = "/api/license/limits/check";
            let answer = command.service.ask(path, body).await?;
            (answer, command.requested == 0)
        }
        None => (command.service.get("/api/license/limits").await?, true),
    };
    if !answer.ok {
        return Err(answer.into_error());
    }
    if command.service.json {
        println!("{}", escaped::json(&rows(&answer.received))?);
    } else {
        rows(&answer.body)
            .iter()
            .for_each(|row| print(row, is_list));
    }
    Ok(match rows(&answer.received).iter().all(is_yes) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NO),
    })
}

/// The checks in an answer, which is either a list or one check.
fn rows(answer: &Value) -> &[Value] {
    match answer["limits"].as_array() {
        Some(rows) => rows,
        None => std::slice::from_ref(answer),
    }
}

fn is_over(row: &Value) -> bool {
    row["reason"] == "over_limit"
}

fn is_yes(row: &Value) -> bool {
    row["allowed"] == true && !is_over(row)
}

fn print(row: &Value, is_list: bool) {
    let text = |field: &str| row[field].as_str().unwrap_or_default();
    let word = match row["allowed"] == true {
        true if is_over(row) => "over",
        true if is_list => "ok  ",
        true => "yes ",
        false => "no  ",
    };
    println!("{word} {}  ({})", text("message"), text("reason"));
}
