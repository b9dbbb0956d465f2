//! `license-server keys …`

use std::path::PathBuf;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::json;

use crate::cli::table;
use crate::config::Storage;
use crate::signing::SigningKeys;

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Make a signing key; it signs from now on, and older keys stay published
    #[command(after_help = "Example:\n  license-server keys create")]
    Create,

    /// List the signing keys, newest first
    #[command(after_help = "Example:\n  license-server keys list")]
    List,

    /// Export the public keys, for the License Clients' `LICENSE_TRUSTED_KEYS`
    #[command(after_help = "Example:\n  license-server keys export --output trusted-keys.json")]
    Export {
        /// File to write; default is standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

pub(super) fn run(
    storage: &Storage,
    command: Keys,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let directory = storage.keys();
    match command {
        Keys::Create => {
            let kid = SigningKeys::create(&directory, now)?;
            if json {
                println!("{:#}", json!({ "kid": kid }));
            } else {
                println!("Made the signing key {kid} in {}", directory.display());
                println!(
                    "Back the directory up, and give clients the public keys: license-server keys export"
                );
            }
        }
        Keys::List => {
            let keys = SigningKeys::load(&directory)?.list();
            if json {
                println!("{}", serde_json::to_string_pretty(&keys)?);
            } else {
                let rows: Vec<_> = keys
                    .into_iter()
                    .map(|key| {
                        let signs = if key.signs { "yes" } else { "" };
                        [
                            key.kid,
                            table::time(Some(key.created), ""),
                            signs.to_owned(),
                        ]
                    })
                    .collect();
                table::print(["KEY", "CREATED", "SIGNS"], &rows);
            }
        }
        Keys::Export { output } => {
            let set = SigningKeys::load(&directory)?.public();
            let text = serde_json::to_string_pretty(&set)?;
            match output {
                Some(file) => {
                    std::fs::write(&file, text + "\n")
                        .with_context(|| format!("'{}' cannot be written", file.display()))?;
                    println!(
                        "{} public key(s) written to {}",
                        set.keys.len(),
                        file.display()
                    );
                }
                None => println!("{text}"),
            }
        }
    }
    Ok(())
}
