//! `license-server offline …`

use std::path::PathBuf;
use std::sync::Arc;

use clap::parser::ValueSource;
use clap::{ArgMatches, Subcommand};
use license_console::escaped::{self, escaped};
use license_core::document::verify_license;
use license_core::keyring::Keyring;
use license_service::clock::SystemClock;
use license_service::output_file::{self, Readers};
use license_service::stderr::say;
use license_service::stdout::note_change;
use license_service::text_file;
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::invocation::Invocation;
use crate::cli::table;
use crate::config::Terms;
use crate::licensing::clock;
use crate::licensing::day_words::days;
use crate::licensing::offline::{OfflineLease, read, sign};
use crate::licensing::site_answer::SiteAnswer;
use crate::open::open_store;

#[derive(Debug, Subcommand)]
pub(super) enum Offline {
    /// Answer a request file from a site without internet
    #[command(after_help = "Examples:\n  \
        license-server offline sign request.txt --output license.txt\n  \
        license-server offline sign request.txt --offline-days 30")]
    Sign {
        /// Request file from 'license-client offline request'; - is standard
        /// input
        file: PathBuf,

        /// File to write; default is standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,

        #[command(flatten)]
        terms: Terms,

        /// Whether `--offline-days` was given on the command line
        #[arg(skip)]
        has_days: bool,
    },
}

impl Offline {
    /// Notes what the command line says, apart from the settings of the server.
    pub(super) fn note_sources(&mut self, command: &ArgMatches) {
        let Self::Sign { has_days, .. } = self;
        let source = command
            .subcommand_matches("sign")
            .and_then(|sign| sign.value_source("offline_days"));
        *has_days = source == Some(ValueSource::CommandLine);
    }
}

pub(super) async fn run(
    invocation: &Invocation,
    command: Offline,
    json: bool,
) -> anyhow::Result<()> {
    let Offline::Sign {
        file,
        output,
        terms,
        has_days,
    } = command;
    let request = read(&text_file::read_argument(&file)?)?;
    let output = match output {
        Some(file) => Some((output_file::prepare(&file, Readers::Owner)?, file)),
        None => None,
    };
    let lease = match has_days {
        true => OfflineLease::AtMost(terms.offline_days),
        false => OfflineLease::Default(terms.offline_days),
    };
    // This command does not create a database.
    let store = open_store(&invocation.storage).await?;
    let by = invocation.by(&store).await?;
    store.close().await;
    let app = App::open(&invocation.storage, terms, Arc::new(SystemClock)).await?;
    let signed = sign(&app, request, lease, by).await?;
    note_change("the request was answered; sign it again to get the license file");
    clock::record_if_trusted(&app).await;
    let keyring = Keyring::from_jwk_set(app.keys().public());
    app.store.clone().close().await;
    let what = content(&signed.answer, &keyring?)?;
    match output {
        Some((prepared, output)) => {
            prepared.write(&signed.file)?;
            if json {
                println!(
                    "{}",
                    escaped::json(&json!({"file": output, "holds": what}))?
                );
            } else {
                let output = escaped(&output.to_string_lossy());
                println!("Wrote {what} to {output}");
            }
        }
        None => {
            say(what);
            print!("{}", signed.file);
        }
    }
    Ok(())
}

/// What a license file contains, as it was signed.
fn content(answer: &SiteAnswer, keyring: &Keyring) -> anyhow::Result<String> {
    Ok(match answer {
        SiteAnswer::License(license) => {
            let text = |field| license.get(field).and_then(Value::as_str);
            let signed = verify_license(text("signature").unwrap_or_default(), keyring)?;
            let claims = signed.claims();
            format!(
                "a lease until {} UTC ({}) for {}",
                table::time(Some(claims.valid_until), ""),
                days((claims.valid_until - claims.iat).num_days()),
                text("licenseKey").unwrap_or_default()
            )
        }
        SiteAnswer::Deactivated { .. } => "the deactivation receipt; the seat is free".to_owned(),
        SiteAnswer::Redeemed { .. } => "the receipt of the add-on key".to_owned(),
        SiteAnswer::Denied { message, .. } => format!("a denial ({message})"),
    })
}
