//! `license-client doctor`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgMatches, Args};
use license_console::escaped::{self, escaped};
use license_service::clock::SystemClock;
use license_service::error_text::with_causes;
use license_service::output_file::{self, Readers};
use serde_json::Value;

use crate::cli::NO;
use crate::cli::own_settings::{Difference, ServiceUrl, differences, settings, state_dir_if_set};
use crate::config::{Settings, proxies};
use crate::doctor::support_file::{Report, support_file};
use crate::doctor::{Examiner, Finding, Health, examine};
use crate::running_service::ServiceArgs;

/// The name of the finding about the settings.
const SETTINGS: &str = "settings";

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    service: ServiceUrl,

    #[command(flatten)]
    pub(super) settings: Settings,

    /// Also write the findings, the settings and the service's responses to this
    /// file, without license keys, tokens or passwords
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
    command.settings.proxies = proxies();
    let own = settings(matches, from_file);
    let service = ServiceArgs::of(
        &command.settings,
        command.service.url.clone(),
        state_dir_if_set(matches),
    );
    let show = |finding: &Finding| {
        if !command.json {
            println!("{finding}");
        }
    };
    let (findings, shown) = match ask(&service).await {
        Ok(Examined {
            mut findings,
            settings,
        }) => {
            let differing = differences(&settings, &own);
            findings.insert(0, compared(&service.presentable_url(), &differing));
            findings.iter().for_each(show);
            (findings, settings)
        }
        Err(error) => {
            let alone = alone(&error);
            show(&alone);
            let mut findings = vec![alone];
            let settings = &command.settings;
            findings.extend(examine(settings, &SystemClock, Examiner::Command, show).await);
            (findings, own.clone())
        }
    };
    if command.json {
        println!("{}", escaped::json(&findings)?);
    }
    if let Some(file) = &command.bundle {
        let report = Report {
            findings: &findings,
            settings: &shown,
            command: Some(&own),
        };
        let bundle = support_file(report, &service, &SystemClock).await;
        output_file::write(
            file,
            &format!("{}\n", escaped::json(&bundle)?),
            Readers::Owner,
        )?;
        if !command.json {
            println!("\nWrote {}", escaped(&file.to_string_lossy()));
        }
    }
    let broken = findings.iter().any(|f| f.health == Health::Error);
    Ok(if broken {
        ExitCode::from(NO)
    } else {
        ExitCode::SUCCESS
    })
}

/// The findings of the running service, and its settings.
struct Examined {
    findings: Vec<Finding>,
    settings: Value,
}

async fn ask(service: &ServiceArgs) -> anyhow::Result<Examined> {
    let mut answer = service.ask_trusted("/api/license/diagnostics").await?;
    if !answer.ok {
        return Err(answer.into_error());
    }
    let findings = answer.body["findings"].take();
    Ok(Examined {
        findings: serde_json::from_value(findings).context("cannot read the findings")?,
        settings: answer.body["settings"].take(),
    })
}

/// The service ran the checks.
fn compared(place: &str, differing: &[Difference]) -> Finding {
    if differing.is_empty() {
        let found =
            format!("the service at {place} ran these checks; this command has the same settings");
        return Finding::ok(SETTINGS, found);
    }
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
    let differing: Vec<String> = differing
        .iter()
        .map(|it| {
            let (service, command) = (word(&it.service), word(&it.command));
            format!(
                "{}: {service} (service), {command} (this command)",
                it.variable
            )
        })
        .collect();
    Finding::warning(
        SETTINGS,
        format!(
            "the service at {place} ran these checks; the settings of this command differ: {}",
            differing.join("; ")
        ),
        "the settings of the service apply; change them where the service is started",
    )
}

/// No service ran the checks.
fn alone(error: &anyhow::Error) -> Finding {
    let error = with_causes(&**error);
    let found = format!(
        "this command ran these checks with its own settings, because no service ran them: {error}"
    );
    Finding::warning(
        SETTINGS,
        found,
        "if a service is running, pass its address with --url and, if required, its token with ADMIN_TOKEN_FILE",
    )
}
