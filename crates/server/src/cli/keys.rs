//! `license-server keys …`

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use license_console::escaped::{self, escaped};
use license_service::clock::SystemClock;
use license_service::output_file::{self, Readers};
use license_service::stderr::say;
use license_service::stdout::note_change;
use serde_json::json;

use crate::cli::invocation::{Invocation, permit};
use crate::cli::table;
use crate::licensing::key_changes::{DEFAULT_OVERLAP_DAYS, MAX_OVERLAP_DAYS, revoke, rotate};
use crate::licensing::{clock, key_record};
use crate::open::{first_key, make_missing_key, open_store};
use crate::signing::{SigningError, SigningKeys};

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Create the first signing key; a server that starts without one creates it
    /// automatically
    #[command(after_help = "Example:\n  license-server keys create")]
    Create,

    /// List the signing keys and their state
    #[command(after_help = "Example:\n  license-server keys list")]
    List,

    /// Export the public keys, for the `LICENSE_TRUSTED_KEYS` setting of License Clients and
    /// for builds with embedded keys
    #[command(after_help = "Example:\n  license-server keys export --output trusted-keys.json")]
    Export {
        /// File to write; default is standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },

    /// Create the next signing key and publish it in a signed set, which clients
    /// adopt automatically
    #[command(after_help = "Examples:\n  \
        license-server keys rotate                    (the new key signs after 7 days)\n  \
        license-server keys rotate --at-once          (the old key is compromised)")]
    Rotate {
        /// Days until the new key is used for signing; until then the old key is used
        #[arg(long, default_value_t = DEFAULT_OVERLAP_DAYS, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(..=i64::from(MAX_OVERLAP_DAYS)))]
        overlap_days: u16,

        /// Use the new key for signing immediately
        #[arg(long, conflicts_with = "overlap_days")]
        at_once: bool,

        #[command(flatten)]
        issuer: Issuer,
    },

    /// Accept this key directory from now on, even if it is older than the one recorded in the
    /// database, or different. Use this command only if the newest directory is lost
    #[command(
        after_help = "Example:\n  license-server keys accept\n\nStop all servers first, and start \
                      them again afterwards. Revoked keys stay revoked."
    )]
    Accept,

    /// Revoke a key: everything signed with it becomes invalid
    #[command(
        after_help = "Example:\n  license-server keys rotate --at-once && license-server keys revoke KEY"
    )]
    Revoke {
        /// Key id, as shown by 'keys list'
        #[arg(allow_hyphen_values = true)]
        kid: String,

        #[command(flatten)]
        issuer: Issuer,
    },
}

/// The issuer of a key set or of the document of a release.
#[derive(Debug, Args)]
pub(super) struct Issuer {
    /// Issuer named in signed documents
    #[arg(
        long,
        env,
        default_value = "foxsight-license-server",
        value_name = "NAME"
    )]
    pub(super) issuer: String,
}

pub(super) async fn run(
    invocation: &Invocation,
    command: Keys,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    match command {
        Keys::Create => create(invocation, json, now).await,
        Keys::List => list(&SigningKeys::load(&invocation.storage.keys())?, json, now),
        Keys::Export { output } => export(invocation, output, now).await,
        Keys::Rotate {
            overlap_days,
            at_once,
            issuer,
        } => {
            let days = if at_once { 0 } else { overlap_days };
            let overlap = TimeDelta::days(days.into());
            rotate_key(invocation, &issuer, overlap, json, now).await
        }
        Keys::Accept => accept(invocation, json, now).await,
        Keys::Revoke { kid, issuer } => revoke_key(invocation, &issuer, &kid, json, now).await,
    }
}

async fn create(invocation: &Invocation, json: bool, now: DateTime<Utc>) -> anyhow::Result<()> {
    let directory = invocation.storage.keys();
    let store = open_store(&invocation.storage).await?;
    permit(&store, now).await?;
    let change = invocation.change(&store, now).await?;
    let made = first_key(&store, &invocation.storage, &change).await?;
    let loaded = key_record::load(&store, &directory).await;
    store.close().await;
    let kid = made.ok_or_else(|| SigningError::Exists(directory.display().to_string()))?;
    note_change("the signing key was created; see 'license-server keys list'");
    if json {
        println!("{}", escaped::json(&json!({ "kid": kid }))?);
    } else {
        let directory = escaped(&directory.to_string_lossy());
        println!("Created signing key {kid} in {directory}");
        println!(
            "Back up this directory, and export the public keys for clients with 'license-server keys export'."
        );
    }
    // If another directory was in use, all sites may trust its keys.
    if let Err(error) = loaded {
        say(format_args!(
            "note: the key cannot sign anything yet: {error}"
        ));
    }
    Ok(())
}

async fn export(
    invocation: &Invocation,
    output: Option<PathBuf>,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let output = match output {
        Some(file) => Some((output_file::prepare(&file, Readers::Everyone)?, file)),
        None => None,
    };
    let directory = invocation.storage.keys();
    if let Err(SigningError::None(_)) = SigningKeys::load(&directory) {
        let store = open_store(&invocation.storage).await?;
        let clock = clock::open(&store, Arc::new(SystemClock)).await?;
        let change = invocation.change(&store, now).await?;
        make_missing_key(&store, &invocation.storage, &clock, &change).await?;
        store.close().await;
        note_change("the first signing key was created; see 'license-server keys list'");
    }
    let keys = SigningKeys::load(&directory)?;
    let set = keys.public();
    let text = serde_json::to_string_pretty(set)?;
    match output {
        Some((prepared, file)) => {
            prepared.write(&(text + "\n"))?;
            let keys = match set.keys.len() {
                1 => "1 public key".to_owned(),
                count => format!("{count} public keys"),
            };
            let file = escaped(&file.to_string_lossy());
            println!("Wrote {keys} to {file}");
        }
        None => println!("{text}"),
    }
    Ok(())
}

async fn rotate_key(
    invocation: &Invocation,
    Issuer { issuer }: &Issuer,
    overlap: TimeDelta,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let store = open_store(&invocation.storage).await?;
    let at = permit(&store, now).await?;
    let by = invocation.by(&store).await?;
    let (kid, signs_from) =
        rotate(&store, &invocation.storage.keys(), issuer, overlap, by, at).await?;
    note_change("the next signing key was created; see 'license-server keys list'");
    store.close().await;
    if json {
        println!(
            "{}",
            escaped::json(&json!({ "kid": kid, "signsFrom": signs_from }))?
        );
    } else {
        let from = table::time(Some(signs_from), "");
        println!("Created signing key {kid}, which is used for signing from {from} UTC");
        println!("Running servers load the key within seconds. Back up the key directory.");
    }
    Ok(())
}

async fn accept(invocation: &Invocation, json: bool, now: DateTime<Utc>) -> anyhow::Result<()> {
    let directory = invocation.storage.keys();
    let store = open_store(&invocation.storage).await?;
    let at = permit(&store, now).await?;
    let accepting = key_record::accept(&store, &directory, invocation.by(&store).await?, at);
    let version = accepting.await?;
    note_change("the key directory was accepted; see 'license-server audit'");
    store.close().await;
    if json {
        println!("{}", escaped::json(&json!({ "keySet": version }))?);
    } else {
        let directory = escaped(&directory.to_string_lossy());
        println!("Accepted {directory} with key set {version}");
        println!(
            "Start all servers again. Export the public keys with 'license-server keys export' for \
             sites that do not trust this key set."
        );
    }
    Ok(())
}

async fn revoke_key(
    invocation: &Invocation,
    Issuer { issuer }: &Issuer,
    kid: &str,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let store = open_store(&invocation.storage).await?;
    let at = permit(&store, now).await?;
    let by = invocation.by(&store).await?;
    let version = revoke(&store, &invocation.storage.keys(), issuer, kid, by, at).await?;
    note_change("the key was revoked; see 'license-server keys list'");
    store.close().await;
    if json {
        println!(
            "{}",
            escaped::json(&json!({ "kid": kid, "keySet": version }))?
        );
    } else {
        println!(
            "Revoked {kid} with key set {version}; sites receive the key set with their next \
             validation"
        );
    }
    Ok(())
}

fn list(keys: &SigningKeys, json: bool, now: DateTime<Utc>) -> anyhow::Result<()> {
    let version = keys.version();
    let keys = keys.list(now);
    if json {
        println!(
            "{}",
            escaped::json(&json!({ "keySet": version, "keys": keys }))?
        );
        return Ok(());
    }
    let rows: Vec<_> = keys
        .into_iter()
        .map(|key| {
            [
                key.kid,
                key.state.to_owned(),
                table::time(Some(key.signs_from), ""),
                table::time(Some(key.created), ""),
            ]
        })
        .collect();
    println!("Key set {version}\n");
    table::print(["KEY", "STATE", "SIGNS FROM", "CREATED"], &rows);
    Ok(())
}
