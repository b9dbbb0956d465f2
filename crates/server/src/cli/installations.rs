//! `license-server installations`

use chrono::{DateTime, Utc};
use clap::{Args, value_parser};

use crate::cli::listing::{CsvFlag, DEFAULT_LIMIT, print};
use crate::config::Storage;
use crate::licensing::exports::InstallationsExport;
use crate::licensing::fleet::Filter;
use crate::licensing::seen_standing::Seen;
use crate::open::open_store;

#[derive(Debug, Args)]
pub(super) struct Installations {
    /// Only installations with this standing
    #[arg(long)]
    standing: Option<Seen>,

    /// Only installations with this VMS version
    #[arg(long, value_name = "VERSION")]
    vms_version: Option<String>,

    /// Only installations that use more than their license grants; with 'false', only installations
    /// within their limits
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    over_limit: Option<bool>,

    /// Only installations with suspicions in the last 30 days; with 'false', only installations
    /// without suspicions
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    suspected: Option<bool>,

    /// Maximum number of installations in a table
    #[arg(long, default_value_t = DEFAULT_LIMIT, value_name = "N", value_parser = value_parser!(u64).range(1..=10_000))]
    limit: u64,

    #[command(flatten)]
    csv: CsvFlag,
}

/// The columns of the table.
const COLUMNS: [&str; 7] = [
    "installationName",
    "customer",
    "standing",
    "lastSeenAt",
    "installationVersion",
    "hardwareId",
    "cameras",
];

pub(super) async fn run(
    storage: &Storage,
    command: Installations,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let format = command.csv.format(json)?;
    let filter = Filter {
        standing: command.standing,
        version: command.vms_version,
        over_limit: command.over_limit,
        suspected: command.suspected,
    };
    let store = open_store(storage).await?;
    let export = InstallationsExport::new(filter, now);
    print(&store, export, format, &COLUMNS, command.limit).await?;
    store.close().await;
    Ok(())
}
