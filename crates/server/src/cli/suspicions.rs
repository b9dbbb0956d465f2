//! `license-server suspicions`

use clap::{Args, value_parser};
use license_console::escaped;
use license_service::secret_argument::SecretArgument;

use crate::cli::{license_key, table};
use crate::config::Storage;
use crate::licensing::look_up::look_up;
use crate::open::open_store;
use crate::store::suspicions::{MAX_LISTED, Suspected, list};

#[derive(Debug, Args)]
pub(super) struct Suspicions {
    /// Only suspicions about the license with this key; - reads it from standard input
    key: Option<SecretArgument>,

    /// Maximum number of suspicions, up to 10000
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = value_parser!(u64).range(1..=MAX_LISTED))]
    limit: u64,
}

pub(super) async fn run(storage: &Storage, command: Suspicions, json: bool) -> anyhow::Result<()> {
    let store = open_store(storage).await?;
    let license = match command.key {
        Some(key) => Some(look_up(&store, &license_key(key)?).await?.id),
        None => None,
    };
    let found = list(store.reader(), license.as_deref(), command.limit).await?;
    store.close().await;
    if json {
        println!("{}", escaped::json(&found)?);
    } else if found.is_empty() {
        println!("No suspicions.");
    } else {
        print(&found);
    }
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
