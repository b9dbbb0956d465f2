//! `license-server offline …`

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use license_console::escaped::{self, escaped};
use license_service::clock::SystemClock;
use license_service::output_file::{self, Readers};
use license_service::stderr::say;
use license_service::stdout::note_change;
use license_service::text_file;
use serde_json::json;

use crate::app::App;
use crate::audit::Actor;
use crate::config::{Storage, Terms};
use crate::licensing::clock;
use crate::licensing::offline::{read, sign};
use crate::licensing::site_answer::SiteAnswer;
use crate::open::open_store;

#[derive(Debug, Subcommand)]
pub(super) enum Offline {
    /// Answer the request file of a site without internet
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
    },
}

pub(super) async fn run(storage: &Storage, command: Offline, json: bool) -> anyhow::Result<()> {
    let Offline::Sign {
        file,
        output,
        terms,
    } = command;
    let request = read(&text_file::read_argument(&file)?)?;
    let output = match output {
        Some(file) => Some((output_file::prepare(&file, Readers::Owner)?, file)),
        None => None,
    };
    let lease = terms.offline_days;
    // This command does not create a database.
    open_store(storage).await?.close().await;
    let app = App::open(storage, terms, Arc::new(SystemClock)).await?;
    let signed = sign(&app, request, lease, Actor::CommandLine).await?;
    note_change("the request was answered; sign it again to get the license file");
    clock::record_if_trusted(&app).await;
    app.store.clone().close().await;
    let what = match &signed.answer {
        SiteAnswer::License(license) => format!(
            "a lease of {} days for {}",
            lease.num_days(),
            license
                .get("licenseKey")
                .and_then(|key| key.as_str())
                .unwrap_or_default()
        ),
        SiteAnswer::Deactivated { .. } => "the deactivation receipt; the seat is free".to_owned(),
        SiteAnswer::Denied { message, .. } => format!("a denial ({message})"),
    };
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
