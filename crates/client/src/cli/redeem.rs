//! `license-client redeem [KEY]`

use std::process::ExitCode;

use clap::Args;
use license_core::issued_code::{CodeKind, IssuedCode};
use license_core::license_key::LicenseKeyError;
use license_service::secret_argument::{SecretArgument, SecretForm};
use serde_json::json;

use crate::licensing::redeem::add_on_key;
use crate::running_service::ServiceArgs;

/// The form of add-on keys.
pub(super) const ADD_ON_KEY: SecretForm = SecretForm {
    name: "add-on key",
    example: "FXSADD-XXXX-XXXX-XXXX-XXXX",
    find: |text| find(CodeKind::AddOn, text),
};

/// The code of a kind in a text; `None` if the text contains none, or only a part of it.
pub(super) fn find(kind: CodeKind, text: &str) -> Option<String> {
    match IssuedCode::parse(kind, text) {
        Ok(code) => Some(code.as_str().to_owned()),
        Err(error) => match error.fault {
            LicenseKeyError::Form(_) => None,
            _ => Some(text.trim().to_owned()),
        },
    }
}

#[derive(Debug, Args)]
pub(super) struct Redeem {
    /// Add-on key, in uppercase or lowercase, with or without hyphens; - reads it from standard
    /// input. If this argument is omitted, you are prompted for the key, so that other users cannot
    /// see it
    key: Option<SecretArgument>,

    #[command(flatten)]
    service: ServiceArgs,
}

pub(super) async fn run(command: Redeem) -> anyhow::Result<ExitCode> {
    let typed = SecretArgument::read_or_ask(command.key, ADD_ON_KEY)?;
    let key = add_on_key(&typed)?;
    let body = json!({ "addOnKey": key.as_str() });
    let answer = command
        .service
        .post("/api/license/redeem", Some(body))
        .await?;
    if !answer.ok {
        return Err(answer.into_error());
    }
    if !command.service.print_json(&answer) {
        println!("{}", answer.text("message"));
        println!("  Add-on key   {}", key.masked());
        println!("  Amendment    {}", answer.body["amendment"]);
    }
    Ok(ExitCode::SUCCESS)
}
