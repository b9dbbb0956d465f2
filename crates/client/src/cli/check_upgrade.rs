//! `license-client check-upgrade`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use license_core::release::{parse_released, parse_version};
use license_service::text_file;
use serde_json::{Value, json};

use crate::cli::NO;
use crate::running_service::ServiceArgs;

/// It is not known whether the license covers the release.
const UNKNOWN: u8 = 4;

#[derive(Debug, Args)]
pub(super) struct CheckUpgrade {
    /// Version of the release, such as 3.2.0
    #[arg(value_parser = version, required_unless_present = "document", requires = "released")]
    version: Option<String>,

    /// Release date: a day, which stands for 00:00 UTC on that day, or an exact time
    #[arg(long, value_parser = date, requires = "version", value_name = "DATE")]
    released: Option<String>,

    /// The vendor has marked the release as exempt, so every license covers it
    #[arg(long, requires = "version")]
    exempt: bool,

    /// Check the release described in this signed document instead; - is standard input
    #[arg(long, conflicts_with = "version", value_name = "FILE")]
    document: Option<PathBuf>,

    #[command(flatten)]
    service: ServiceArgs,
}

pub(super) async fn run(command: CheckUpgrade) -> anyhow::Result<ExitCode> {
    let body = match &command.document {
        Some(file) => json!({ "document": text_file::read_argument(file)?.trim() }),
        None => json!({
            "version": command.version,
            "released": command.released,
            "exempt": command.exempt,
        }),
    };
    let path = "/api/license/upgrade/check";
    let answer = command.service.ask(path, body).await?;
    if !answer.ok {
        return Err(answer.into_error());
    }
    if !command.service.print_json(&answer) {
        println!("{}", answer.text("message"));
        let features = answer.body["features"].as_array().into_iter().flatten();
        let word = match answer.text("consequence") {
            "features_off" => "off",
            _ => "on ",
        };
        for feature in features.filter_map(Value::as_str) {
            println!("  {word}  {feature}");
        }
    }
    Ok(match answer.text("coverage") {
        "covered" => ExitCode::SUCCESS,
        "not_covered" => ExitCode::from(NO),
        _ => ExitCode::from(UNKNOWN),
    })
}

fn version(text: &str) -> Result<String, String> {
    parse_version(text).map_err(|error| error.to_string())
}

/// As it was written: the service reads it.
fn date(text: &str) -> Result<String, String> {
    match parse_released(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
