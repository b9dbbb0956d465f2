//! `license-client config`

use std::process::ExitCode;

use anyhow::ensure;
use clap::{ArgMatches, Args};
use license_console::escaped;
use license_service::error_text::with_causes;
use license_service::stderr::say;
use serde_json::{Map, Value, json};

use crate::cli::own_settings::{ServiceUrl, differences, settings, state_dir_if_set};
use crate::config::Settings;
use crate::running_service::ServiceArgs;

#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(flatten)]
    service: ServiceUrl,

    #[command(flatten)]
    pub(super) settings: Settings,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    command: &Config,
    matches: &ArgMatches,
    from_file: &[String],
) -> anyhow::Result<ExitCode> {
    let own = settings(matches, from_file);
    let service = ServiceArgs::of(
        &command.settings,
        command.service.url.clone(),
        state_dir_if_set(matches),
    );
    let place = service.presentable_url();
    let (shown, database, differing) = match ask(&service).await {
        Ok(answer) => {
            let database = answer["database"].as_str().unwrap_or("-").to_owned();
            let differing = differences(&answer["settings"], &own);
            say(format_args!(
                "Showing the settings of the service at {place}."
            ));
            (answer["settings"].clone(), database, Some(differing))
        }
        Err(error) => {
            say(format_args!(
                "Showing the settings of this command, not of a running service: {}.",
                with_causes(&*error)
            ));
            (own, command.settings.database().to_string(), None)
        }
    };
    if command.json {
        let differing = differing.as_ref().map(|differing| {
            let entries = differing.iter().map(|it| {
                let values = json!({"service": it.service, "command": it.command});
                (it.variable.clone(), values)
            });
            entries.collect::<Map<_, _>>()
        });
        let output = json!({
            "of": if differing.is_some() { "service" } else { "command" },
            "settings": shown,
            "database": database,
            "differences": differing,
        });
        println!("{}", escaped::json(&output)?);
        return Ok(ExitCode::SUCCESS);
    }
    for (variable, setting) in shown.as_object().into_iter().flatten() {
        let text = |field: &str| setting[field].as_str().unwrap_or("-");
        println!("{variable:<31} {}  ({})", text("value"), text("source"));
    }
    // Without DATABASE_URL, the database is in STATE_DIR.
    println!("\nThe database is {database}");
    let differing = differing.unwrap_or_default();
    if !differing.is_empty() {
        println!("\nThe settings of this command differ from those of the service:");
    }
    for setting in differing {
        let command = setting.command.as_deref().unwrap_or("-");
        println!("{:<31} {command}", setting.variable);
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings of the running service.
async fn ask(service: &ServiceArgs) -> anyhow::Result<Value> {
    let answer = service.get_trusted("/api/license/settings").await?;
    if !answer.ok {
        return Err(answer.into_error());
    }
    ensure!(
        answer.body["settings"].is_object(),
        "the service did not return its settings"
    );
    Ok(answer.body)
}
