//! `license-client start-trial [CODE]`

use std::process::ExitCode;

use clap::Args;
use license_core::issued_code::CodeKind;
use license_service::secret_argument::{SecretArgument, SecretForm};
use serde_json::json;

use crate::cli::redeem::find;
use crate::licensing::start_trial::trial_code;
use crate::running_service::ServiceArgs;

/// The form of trial codes.
pub(super) const TRIAL_CODE: SecretForm = SecretForm {
    name: "trial code",
    example: "FXSTRY-XXXX-XXXX-XXXX-XXXX",
    find: |text| find(CodeKind::Trial, text),
};

#[derive(Debug, Args)]
pub(super) struct StartTrial {
    /// Trial code, in uppercase or lowercase, with or without hyphens; - reads it from standard
    /// input. If this argument is omitted, you are prompted for the code
    #[arg(conflicts_with = "without_code")]
    code: Option<SecretArgument>,

    /// Start a trial without a code, if the vendor allows it
    #[arg(long)]
    without_code: bool,

    #[command(flatten)]
    service: ServiceArgs,
}

pub(super) async fn run(command: StartTrial) -> anyhow::Result<ExitCode> {
    let body = match command.without_code {
        true => json!({}),
        false => {
            let typed = SecretArgument::read_or_ask(command.code, TRIAL_CODE)?;
            json!({ "trialCode": trial_code(&typed)?.as_str() })
        }
    };
    let answer = command
        .service
        .post("/api/license/trial", Some(body))
        .await?;
    if !answer.ok {
        return Err(answer.into_error());
    }
    if !command.service.print_json(&answer) {
        let license = &answer.body["license"];
        let text = |name: &str| license[name].as_str().unwrap_or("never").to_owned();
        println!("{}", answer.text("message"));
        println!("  License key  {}", text("licenseKey"));
        println!("  Expires      {}", text("expiresAt"));
    }
    Ok(ExitCode::SUCCESS)
}
