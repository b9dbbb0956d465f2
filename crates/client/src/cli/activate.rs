//! `license-client activate [KEY]`

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use license_core::license_key::{LicenseKey, LicenseKeyError, normalize};
use license_service::secret_argument::SecretArgument;
use license_service::stderr::say;
use serde_json::{Value, json};

use crate::cli::replacement::{Choice, Replacement};
use crate::cli::{LICENSE_KEY, NO};
use crate::licensing::entered_key::check_is_no_code;
use crate::running_service::ServiceArgs;

#[derive(Debug, Args)]
pub(super) struct Activate {
    /// License key, in uppercase or lowercase, with or without hyphens; - reads it from standard
    /// input. If this argument is omitted, you are prompted for the key, so that other users cannot
    /// see it
    key: Option<SecretArgument>,

    /// If another license is active, replace it without asking for confirmation
    #[arg(long)]
    yes: bool,

    /// If the key replaces another license, free the seat of the previous license
    #[arg(long)]
    give_back: bool,

    #[command(flatten)]
    service: ServiceArgs,
}

pub(super) async fn run(command: Activate) -> anyhow::Result<ExitCode> {
    let typed = SecretArgument::read_or_ask(command.key, LICENSE_KEY)?;
    check_is_no_code(&typed)?;
    match LicenseKey::parse(&typed) {
        Ok(_) => {}
        Err(error @ LicenseKeyError::Several) => bail!("{error}"),
        // Other vendors' keys have other formats, so this is not an error.
        Err(LicenseKeyError::Form(odd)) if odd.is_empty() => {}
        Err(error) => say(format_args!("note: {error}; trying to activate anyway")),
    }
    let key = normalize(&typed);
    let replacement = Replacement::of(&command.service, &typed).await?;
    let give_back = match replacement {
        None => command.give_back,
        Some(replacement) => {
            let choice = Choice {
                yes: command.yes,
                give_back: command.give_back,
            };
            match replacement.confirm(choice)? {
                Some(give_back) => give_back,
                None => {
                    say("the license was not replaced");
                    return Ok(ExitCode::from(NO));
                }
            }
        }
    };
    let body = json!({ "licenseKey": typed, "giveBack": give_back });
    let answer = command
        .service
        .post("/api/license/activate", Some(body))
        .await?;
    if !answer.ok {
        return Err(answer.into_error());
    }
    if !command.service.print_json(&answer) {
        let license = &answer.body["license"];
        println!("{}", answer.text("message"));
        println!("  License key  {key}");
        println!("  Tier         {}", text(&license["tier"]));
        println!("  Expires      {}", text(&license["expiresAt"]));
        let features: Vec<&str> = license["enabledFeatures"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        println!("  Features     {}", features.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "never".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
