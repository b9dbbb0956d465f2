//! `license-client offline …`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use license_console::escaped::escaped;
use license_core::license_key::LicenseKey;
use license_service::output_file::{self, Readers};
use license_service::secret_argument::SecretArgument;
use license_service::stderr::say;
use license_service::stdout;
use license_service::text_file;
use serde_json::json;

use crate::cli::redeem::ADD_ON_KEY;
use crate::cli::start_trial::TRIAL_CODE;
use crate::cli::{LICENSE_KEY, NO};
use crate::licensing::entered_key::check_is_no_code;
use crate::running_service::ServiceArgs;

#[derive(Debug, Subcommand)]
pub(super) enum Offline {
    /// Write a request file for the vendor
    #[command(after_help = "Examples:\n  \
        license-client offline request activate --output request.txt    (prompts for the key)\n  \
        license-client offline request activate - --output request.txt < license-key\n  \
        license-client offline request renew --output request.txt\n  \
        license-client offline request redeem - --output request.txt < add-on-key\n  \
        license-client offline request trial - --output request.txt < trial-code\n  \
        license-client offline request deactivate    (takes effect immediately)")]
    Request(Request),

    /// Import the license file from the vendor
    #[command(after_help = "Example:\n  license-client offline import license.txt")]
    Import(Import),
}

#[derive(Debug, Args)]
pub(super) struct Request {
    /// Purpose of the request
    purpose: Purpose,

    /// License key, add-on key or trial code; - reads it from standard input. If this argument is
    /// omitted, you are prompted for the key or code, so that other users cannot see it
    key: Option<SecretArgument>,

    /// File to write; default is standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    service: ServiceArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Purpose {
    /// Activate a license
    Activate,
    /// Renew the lease
    Renew,
    /// Deactivate the license and free its seat
    Deactivate,
    /// Redeem an add-on key, which also renews the lease
    Redeem,
    /// Start a trial
    Trial,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The license file; - is standard input
    file: PathBuf,

    #[command(flatten)]
    service: ServiceArgs,
}

pub(super) async fn run(command: Offline) -> anyhow::Result<ExitCode> {
    match command {
        Offline::Request(command) => request(command).await,
        Offline::Import(command) => import(command).await,
    }
}

async fn request(command: Request) -> anyhow::Result<ExitCode> {
    let purpose = match command.purpose {
        Purpose::Activate => "activate",
        Purpose::Renew => "renew",
        Purpose::Deactivate => "deactivate",
        Purpose::Redeem => "redeem",
        Purpose::Trial => "trial",
    };
    let mut body = json!({ "purpose": purpose });
    match command.purpose {
        Purpose::Activate => {
            let key = SecretArgument::read_or_ask(command.key, LICENSE_KEY)?;
            // A mistake found only after the file came back would take days to correct.
            if let Err(error) = LicenseKey::parse(&key)
                && check_is_no_code(&key).is_ok()
            {
                say(format_args!("note: {error}; writing the request anyway"));
            }
            body["licenseKey"] = key.into();
        }
        Purpose::Redeem => {
            let key = SecretArgument::read_or_ask(command.key, ADD_ON_KEY)?;
            body["addOnKey"] = key.into();
        }
        Purpose::Trial => {
            let code = SecretArgument::read_or_ask(command.key, TRIAL_CODE)?;
            body["trialCode"] = code.into();
        }
        Purpose::Renew | Purpose::Deactivate => {}
    }
    let output = match &command.output {
        Some(file) => Some((file, output_file::prepare(file, Readers::Owner)?)),
        None => None,
    };
    let answer = command
        .service
        .post("/api/license/offline/request", Some(body))
        .await?;
    if !answer.ok {
        return Err(answer.into_error());
    }
    stdout::note_change(match command.purpose {
        Purpose::Deactivate => {
            "the license is deactivated on this machine; repeat the command to get the request \
             file that frees its seat"
        }
        Purpose::Activate | Purpose::Renew | Purpose::Redeem | Purpose::Trial => {
            "the request was created; repeat the command to get the request file"
        }
    });
    if command.service.print_json(&answer) {
        return Ok(ExitCode::SUCCESS);
    }
    let file = answer.file("file");
    match output {
        Some((output, prepared)) => {
            prepared.write(file)?;
            println!(
                "Wrote {}. Send it to your vendor, then import the returned file with 'license-client offline import FILE'",
                escaped(&output.to_string_lossy())
            );
        }
        None => print!("{file}"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn import(command: Import) -> anyhow::Result<ExitCode> {
    let file = text_file::read_argument(&command.file)?;
    let body = json!({ "file": file });
    let answer = command
        .service
        .post("/api/license/offline/import", Some(body))
        .await?;
    if !answer.ok {
        return Err(answer.into_error());
    }
    if !command.service.print_json(&answer) {
        println!("{}", answer.text("message"));
    }
    Ok(if answer.flag("success") {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NO)
    })
}
