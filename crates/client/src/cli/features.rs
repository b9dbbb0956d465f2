//! `license-client features [on|off FEATURE]`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::running_service::{Answer, ServiceArgs};

#[derive(Debug, Args)]
pub(super) struct Features {
    #[command(subcommand)]
    switch: Option<Switch>,

    #[command(flatten)]
    service: ServiceArgs,
}

#[derive(Debug, Subcommand)]
enum Switch {
    /// Switch a feature on for this site
    On {
        /// Feature key
        feature: String,
    },
    /// Switch a feature off for this site
    Off {
        /// Feature key
        feature: String,
    },
}

pub(super) async fn run(command: Features) -> anyhow::Result<ExitCode> {
    let path = "/api/license/features";
    let (feature, on) = match command.switch {
        None => {
            let answer = command.service.get(path).await?;
            return list(&command.service, answer);
        }
        Some(Switch::On { feature }) => (feature, true),
        Some(Switch::Off { feature }) => (feature, false),
    };
    let body = json!({ "systemEnabled": on });
    let path = format!("{path}/{feature}");
    let answer = command.service.put(&path, body).await?;
    if !answer.ok {
        return Err(answer.into_error());
    }
    if !command.service.print_json(&answer) {
        print(&answer.body);
    }
    Ok(ExitCode::SUCCESS)
}

fn list(service: &ServiceArgs, answer: Answer) -> anyhow::Result<ExitCode> {
    if !answer.ok {
        return Err(answer.into_error());
    }
    if !service.print_json(&answer) {
        let features = answer.body["features"].as_array();
        features.into_iter().flatten().for_each(print);
        let unknown = answer.body["unknown"].as_array();
        for feature in unknown.into_iter().flatten() {
            let key = feature["featureKey"].as_str().unwrap_or_default();
            let key = key.escape_debug();
            println!("?    {key}  (unknown, but requested by a gate)");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(feature: &Value) {
    let text = |field: &str| feature[field].as_str().unwrap_or_default();
    let word = if feature["available"] == true {
        "yes"
    } else {
        "no "
    };
    let dates = [("startsAt", "starts on"), ("endsAt", "until")].into_iter();
    let dates = dates.filter(|(field, _)| feature[*field].is_string());
    let dates: String = dates
        .map(|(field, word)| format!(", {word} {}", text(field)))
        .collect();
    println!(
        "{word}  {}  ({}{dates})",
        text("featureKey"),
        text("reason")
    );
}
