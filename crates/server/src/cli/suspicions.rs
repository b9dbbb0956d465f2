//! `license-server suspicions`

use clap::{Args, value_parser};
use license_service::secret_argument::SecretArgument;
use license_service::stderr::say;
use sea_orm::ConnectionTrait;
use serde::Serialize;

use crate::cli::listing::{DEFAULT_LIMIT, JsonArray};
use crate::cli::{license_key, table};
use crate::config::Storage;
use crate::licensing::look_up::look_up;
use crate::open::open_store;
use crate::store::page::Page;
use crate::store::suspicions::{MAX_LISTED, Suspected, list, list_after};

#[derive(Debug, Args)]
pub(super) struct Suspicions {
    /// Only suspicions about the license with this key; - reads it from standard input
    key: Option<SecretArgument>,

    /// Maximum number of suspicions, up to 10000; default is 100 in a table, and all with
    /// --json
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=MAX_LISTED))]
    limit: Option<u64>,
}

/// Suspicions per query for JSON.
const PAGE_SIZE: u64 = 1000;

/// A suspicion with its license.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfLicense<'a> {
    license_id: &'a str,
    #[serde(flatten)]
    suspected: &'a Suspected,
}

pub(super) async fn run(storage: &Storage, command: Suspicions, json: bool) -> anyhow::Result<()> {
    let store = open_store(storage).await?;
    let license = match command.key {
        Some(key) => Some(look_up(&store, &license_key(key)?).await?.id),
        None => None,
    };
    let (db, license) = (store.reader(), license.as_deref());
    if json {
        print_json(db, license, command.limit.unwrap_or(u64::MAX)).await?;
        store.close().await;
        return Ok(());
    }
    let limit = command.limit.unwrap_or(DEFAULT_LIMIT);
    let Page {
        rows: found,
        has_more,
    } = list(db, license, limit).await?;
    store.close().await;
    if found.is_empty() {
        println!("No suspicions.");
    } else {
        print(&found);
    }
    if has_more {
        say("note: there are more suspicions; use --json for all, or a higher --limit");
    }
    Ok(())
}

/// Prints an array of suspicions page by page, so that it can be arbitrarily long.
async fn print_json(
    db: &impl ConnectionTrait,
    license: Option<&str>,
    limit: u64,
) -> anyhow::Result<()> {
    let mut array = JsonArray::begin();
    let (mut printed, mut after) = (0, None);
    while printed < limit {
        let found = list_after(db, license, after, (limit - printed).min(PAGE_SIZE)).await?;
        let found = found.rows;
        let Some(last) = found.last() else {
            break;
        };
        after = Some(last.place());
        for suspected in &found {
            array.push(&OfLicense {
                license_id: &suspected.license_id,
                suspected,
            })?;
            printed += 1;
        }
    }
    array.end();
    Ok(())
}

pub(super) fn print(found: &[Suspected]) {
    let rows: Vec<_> = found
        .iter()
        .map(|it| {
            [
                it.kind.clone(),
                match it.hardware_id.as_str() {
                    "" => "–".to_owned(),
                    id => id.to_owned(),
                },
                it.times.to_string(),
                table::time(Some(it.first_seen_at), ""),
                table::time(Some(it.last_seen_at), ""),
            ]
        })
        .collect();
    table::print(["SUSPICION", "HARDWARE", "TIMES", "FIRST", "LAST"], &rows);
}
