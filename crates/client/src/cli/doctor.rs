//! `license-client doctor`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgMatches, Args};
use license_service::clock::SystemClock;
use serde_json::json;

use crate::cli::{NO, config};
use crate::config::Settings;
use crate::doctor::support_file::support_file;
use crate::doctor::{Examiner, Health, examine};

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    settings: Settings,

    /// Also write what was found, the settings and the service's answers to
    /// this file, without license keys, tokens and passwords
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    mut command: Doctor,
    matches: &ArgMatches,
    from_file: &[String],
) -> anyhow::Result<ExitCode> {
    command.settings.shown = config::as_json(&config::settings(matches, from_file));
    let show = |finding: &_| {
        if !command.json {
            println!("{finding}");
        }
    };
    let findings = examine(&command.settings, &SystemClock, Examiner::Command, show).await;
    if command.json {
        println!("{:#}", json!(findings));
    }
    if let Some(file) = &command.bundle {
        let bundle = support_file(&command.settings, &findings, &SystemClock).await;
        std::fs::write(file, format!("{bundle:#}\n"))
            .with_context(|| format!("'{}' cannot be written", file.display()))?;
        if !command.json {
            println!("\nWrote {}", file.display());
        }
    }
    let broken = findings.iter().any(|f| f.health == Health::Error);
    Ok(if broken {
        ExitCode::from(NO)
    } else {
        ExitCode::SUCCESS
    })
}
