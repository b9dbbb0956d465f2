//! `license-server release …`

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use license_console::escaped::{self, escaped};
use license_core::release::{Release as Signed, parse_released, parse_version};
use license_service::output_file::{self, Readers};
use license_service::stdout::note_change;
use serde_json::json;

use crate::cli::invocation::{Invocation, permit};
use crate::cli::keys::Issuer;
use crate::licensing::release::sign;
use crate::open::open_store;

#[derive(Debug, Subcommand)]
pub(super) enum Release {
    /// Sign the document of a release; the VMS ships it as the `RELEASE_DOCUMENT` of License
    /// Clients
    #[command(after_help = "Examples:\n  \
        license-server release sign --version 3.2.0 --released 2027-01-15 --output release.jwt\n  \
        license-server release sign --version 3.1.9 --released 2027-01-15 --exempt --output release.jwt")]
    Sign {
        /// Version of the release
        #[arg(long, value_parser = version, value_name = "VERSION")]
        version: String,

        /// Release date, not in the future: a day, which stands for 00:00 UTC on that day, or an
        /// exact time
        #[arg(long, value_parser = date, value_name = "DATE")]
        released: DateTime<Utc>,

        /// Let every license cover the release, for example because it is a security fix
        #[arg(long)]
        exempt: bool,

        /// File to write; default is standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,

        #[command(flatten)]
        issuer: Issuer,
    },
}

pub(super) async fn run(
    invocation: &Invocation,
    command: Release,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let Release::Sign {
        version,
        released,
        exempt,
        output,
        issuer: Issuer { issuer },
    } = command;
    let output = match output {
        Some(file) => Some((output_file::prepare(&file, Readers::Everyone)?, file)),
        None => None,
    };
    let release = Signed {
        version,
        released,
        exempt,
    };
    let store = open_store(&invocation.storage).await?;
    let at = permit(&store, now).await?;
    let (keys, by) = (invocation.storage.keys(), invocation.by(&store).await?);
    let document = sign(&store, &keys, &issuer, &release, by, at).await?;
    store.close().await;
    note_change("the document was signed; repeat the command to get it");
    let version = &release.version;
    match output {
        Some((prepared, file)) => {
            prepared.write(&format!("{document}\n"))?;
            if json {
                println!(
                    "{}",
                    escaped::json(&json!({"file": file, "version": version}))?
                );
            } else {
                let file = escaped(&file.to_string_lossy());
                println!("Wrote the document of release {version} to {file}");
            }
        }
        None if json => println!(
            "{}",
            escaped::json(&json!({"document": document, "version": version}))?
        ),
        None => println!("{document}"),
    }
    Ok(())
}

fn version(text: &str) -> Result<String, String> {
    parse_version(text).map_err(|error| error.to_string())
}

fn date(text: &str) -> Result<DateTime<Utc>, String> {
    parse_released(text).map_err(|error| error.to_string())
}
