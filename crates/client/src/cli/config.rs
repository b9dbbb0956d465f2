//! `license-client config`

use std::ffi::OsStr;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _};
use license_service::command_line::presentable_argument;
use serde_json::{Value, json};

use crate::cli::Cli;
use crate::config::Settings;

#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(flatten)]
    settings: Settings,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A setting as it may be shown.
pub(super) struct Shown {
    variable: String,
    value: Option<String>,
    source: &'static str,
}

pub(super) fn run(
    command: &Config,
    matches: &ArgMatches,
    from_file: &[String],
) -> anyhow::Result<ExitCode> {
    let shown = settings(matches, from_file);
    if command.json {
        println!("{:#}", as_json(&shown));
        return Ok(ExitCode::SUCCESS);
    }
    for setting in shown {
        let value = setting.value.as_deref().unwrap_or("-");
        println!("{:<31} {value}  ({})", setting.variable, setting.source);
    }
    // Where there is no DATABASE_URL, it follows from STATE_DIR.
    println!("\nThe database is {}", command.settings.database());
    Ok(ExitCode::SUCCESS)
}

/// The settings of the subcommand that was called, without secrets.
pub(super) fn settings(matches: &ArgMatches, from_file: &[String]) -> Vec<Shown> {
    let command = Cli::command();
    let Some((name, matches)) = matches.subcommand() else {
        return Vec::new();
    };
    let arguments = command.find_subcommand(name).into_iter();
    let arguments = arguments.flat_map(clap::Command::get_arguments);
    arguments
        .filter_map(|argument| {
            let variable = argument.get_env()?.display().to_string();
            let id = argument.get_id().as_str();
            let raw = matches.get_raw(id).into_iter().flatten();
            let raw: Vec<_> = raw.map(OsStr::to_string_lossy).collect();
            let value = (!raw.is_empty()).then(|| presentable_argument(argument, &raw.join(",")));
            let source = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => "flag",
                Some(ValueSource::EnvVariable) if from_file.contains(&variable) => ".env",
                Some(ValueSource::EnvVariable) => "environment",
                Some(_) => "default",
                None => "not set",
            };
            Some(Shown {
                variable,
                value,
                source,
            })
        })
        .collect()
}

pub(super) fn as_json(settings: &[Shown]) -> Value {
    let entry = |setting: &Shown| {
        let value = json!({"value": setting.value, "source": setting.source});
        (setting.variable.clone(), value)
    };
    Value::Object(settings.iter().map(entry).collect())
}
