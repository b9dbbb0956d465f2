//! `license-server usage`

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, value_parser};
use license_service::secret_argument::SecretArgument;

use crate::cli::license_key;
use crate::cli::listing::{CsvFlag, DEFAULT_LIMIT, print};
use crate::config::Storage;
use crate::licensing::exports::UsageExport;
use crate::licensing::history::KEPT_DAYS;
use crate::licensing::look_up::look_up;
use crate::open::open_store;

#[derive(Debug, Args)]
pub(super) struct Usage {
    /// Only the usage of the license with this key; - reads it from standard input
    key: Option<SecretArgument>,

    /// Number of days, including today
    #[arg(long, default_value_t = 90, value_name = "DAYS", value_parser = value_parser!(u32).range(1..=i64::from(KEPT_DAYS)))]
    days: u32,

    /// Maximum number of rows in a table
    #[arg(long, default_value_t = DEFAULT_LIMIT, value_name = "N", value_parser = value_parser!(u64).range(1..=10_000))]
    limit: u64,

    #[command(flatten)]
    csv: CsvFlag,
}

/// The columns of the table.
const COLUMNS: [&str; 7] = [
    "customer",
    "hardwareId",
    "day",
    "cameras",
    "users",
    "storageGb",
    "counts",
];

pub(super) async fn run(
    storage: &Storage,
    command: Usage,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let format = command.csv.format(json)?;
    let key = command.key.map(license_key).transpose()?;
    let store = open_store(storage).await?;
    let license_id = match key {
        Some(key) => Some(look_up(&store, &key).await?.id),
        None => None,
    };
    let since = now.date_naive() - TimeDelta::days(i64::from(command.days) - 1);
    let export = UsageExport::new(license_id, since);
    print(&store, export, format, &COLUMNS, command.limit).await?;
    store.close().await;
    Ok(())
}
