//! `license-server audit`

use clap::Args;
use license_console::escaped::{self, escaped};
use license_service::secret_argument::SecretArgument;

use crate::cli::{license_key, table};
use crate::config::Storage;
use crate::licensing::look_up::look_up;
use crate::open::open_store;
use crate::store::audit_log::{Entry, Filter, oldest};

/// Entries per query.
const AT_A_TIME: u64 = 1000;

#[derive(Debug, Args)]
pub(super) struct Audit {
    /// Only entries about the license with this key; - reads it from standard input
    key: Option<SecretArgument>,
}

pub(super) async fn run(storage: &Storage, command: Audit, json: bool) -> anyhow::Result<()> {
    let store = open_store(storage).await?;
    let license_id = match command.key {
        Some(key) => Some(look_up(&store, &license_key(key)?).await?.id),
        None => None,
    };
    let mut filter = Filter {
        license_id,
        ..Filter::default()
    };
    loop {
        let entries = oldest(store.reader(), &filter, AT_A_TIME).await?;
        for entry in &entries {
            print(entry, json)?;
        }
        match entries.last() {
            Some(last) => filter.after = Some(last.number),
            None => break,
        }
    }
    store.close().await;
    Ok(())
}

/// Prints one line per entry: JSON Lines for programs.
fn print(entry: &Entry, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", escaped::json_line(entry)?);
        return Ok(());
    }
    let details = entry.details.as_ref().map(ToString::to_string);
    let author = match &entry.source {
        Some(source) => format!("{}, {source}", entry.actor),
        None => entry.actor.clone(),
    };
    println!(
        "{}  {:<15}  {}  {}  {}",
        table::time(Some(entry.at), ""),
        entry.action,
        escaped(&entry.subject),
        escaped(&author),
        escaped(&details.unwrap_or_default())
    );
    Ok(())
}
