//! `license-client doctor`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgMatches, Args};
use license_core::license_key;
use license_service::clock::{Clock as _, SystemClock};
use serde_json::{Map, Value, json};

use crate::cli::service::ServiceArgs;
use crate::cli::{NO, config};
use crate::config::Settings;
use crate::doctor::{Health, examine};

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
    command: &Doctor,
    matches: &ArgMatches,
    from_file: &[String],
) -> anyhow::Result<ExitCode> {
    let findings = examine(&command.settings, &SystemClock, |finding| {
        if !command.json {
            println!("{finding}");
        }
    })
    .await;
    if command.json {
        println!("{:#}", json!(findings));
    }
    if let Some(file) = &command.bundle {
        let bundle = json!({
            "release": env!("CARGO_PKG_VERSION"),
            "createdAt": SystemClock.now(),
            "findings": findings,
            "settings": config::as_json(&config::settings(matches, from_file)),
            "service": answers(&command.settings).await,
        });
        std::fs::write(file, format!("{:#}\n", redacted(bundle)))
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

/// What the running service says; what it does not say is the reason.
async fn answers(settings: &Settings) -> Value {
    let service = ServiceArgs::at(settings.host, settings.port);
    let mut answers = Map::new();
    for path in [
        "/health",
        "/readyz",
        "/api/license/status",
        "/api/license/features",
        "/api/license/hardware",
        "/api/license/attempts?limit=100",
    ] {
        let answer = match service.get(path).await {
            Ok(answer) => answer.body,
            Err(error) => json!({"error": format!("{error:#}")}),
        };
        answers.insert(path.to_owned(), answer);
    }
    let metrics = service.get_text("/metrics").await;
    let metrics = metrics.unwrap_or_else(|error| format!("{error:#}"));
    answers.insert("/metrics".to_owned(), metrics.into());
    Value::Object(answers)
}

/// Masks license keys wherever they stand, and drops signatures.
fn redacted(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let value = match (name.as_str(), value) {
                    ("licenseKey", Value::String(key)) => license_key::mask(&key).into(),
                    ("signature", _) => "…".into(),
                    (_, value) => redacted(value),
                };
                (name, value)
            })
            .collect(),
        Value::Array(entries) => entries.into_iter().map(redacted).collect(),
        other => other,
    }
}
