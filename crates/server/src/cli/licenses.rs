//! `license-server list`, `show`, `suspend`, `reinstate`, `revoke`

use chrono::{DateTime, Utc};
use clap::{Args, value_parser};
use license_core::license_key::LicenseKey;
use license_service::secret_argument::{SecretArgument, warn_of_argument};
use serde_json::json;

use crate::app::open_store;
use crate::cli::until::Until;
use crate::cli::{by_hand, seats, table};
use crate::config::Storage;
use crate::licensing;
use crate::licensing::claim::moves_left;
use crate::licensing::look_up::look_up;
use crate::licensing::status::set_status;
use crate::store::licenses::{License, MAX_LISTED, Search, Status};
use crate::store::seats::SeatsQuery;
use crate::store::suspicions;

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only licenses with this status
    #[arg(long)]
    status: Option<Status>,

    /// Only licenses whose customer, key or installation contains this text, or
    /// which a machine with this hardware id holds; - reads it from standard input
    #[arg(long, alias = "customer", value_name = "TEXT")]
    search: Option<SecretArgument>,

    /// Maximum number of licenses, up to 10000
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = value_parser!(u64).range(1..=MAX_LISTED))]
    limit: u64,

    /// How many licenses to skip
    #[arg(long, default_value_t = 0, value_name = "N")]
    offset: u64,
}

#[derive(Debug, Args)]
pub(super) struct Renew {
    /// License key, in any spelling; - reads it from standard input
    key: SecretArgument,

    #[command(flatten)]
    until: Until,

    /// It never expires
    #[arg(long, conflicts_with_all = ["expires_at", "expires_in_days"])]
    never: bool,
}

pub(super) async fn list(storage: &Storage, command: List, json: bool) -> anyhow::Result<()> {
    let text = command.search.map_or(Ok(String::new()), searched)?;
    let store = open_store(storage).await?;
    let search = Search {
        text,
        status: command.status,
        ..Search::default()
    };
    let found =
        crate::store::licenses::list(store.reader(), &search, command.offset, command.limit);
    let licenses = found.await?;
    store.close().await;
    if json {
        println!("{}", serde_json::to_string_pretty(&licenses)?);
        return Ok(());
    }
    if licenses.is_empty() {
        println!("There are no such licenses. Issue one with 'license-server issue'.");
        return Ok(());
    }
    let rows: Vec<_> = licenses
        .into_iter()
        .map(|license| {
            [
                license.license_key,
                license.tier,
                license.status.to_string(),
                table::time(license.expires_at, "never"),
                license.customer,
            ]
        })
        .collect();
    table::print(["KEY", "TIER", "STATUS", "EXPIRES", "CUSTOMER"], &rows);
    Ok(())
}

/// What is searched for. Most of it is no secret.
fn searched(argument: SecretArgument) -> anyhow::Result<String> {
    let is_argument = !argument.is_stdin();
    let text = argument.read_without_warning("text")?;
    if is_argument && LicenseKey::parse(&text).is_ok() {
        warn_of_argument("license key");
    }
    Ok(text)
}

pub(super) async fn show(
    storage: &Storage,
    key: &str,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let store = open_store(storage).await?;
    let db = store.reader();
    let license = look_up(&store, key).await?;
    let query = SeatsQuery::default();
    let listed = crate::store::seats::list(db, &license.id, &query, seats::DEFAULT_LIMIT).await?;
    let total = crate::store::seats::count(db, &license.id, &query).await?;
    let moves_left = moves_left(db, &license, now).await?;
    let suspected = suspicions::list(db, Some(&license.id), suspicions::MAX_PER_LICENSE).await?;
    store.close().await;
    if json {
        let whole = json!({
            "license": license,
            "movesLeft": moves_left,
            "seats": listed,
            "seatsTotal": total,
            "suspicions": suspected,
        });
        println!("{whole:#}");
        return Ok(());
    }
    println!("{}\n", license.license_key);
    describe(&license);
    println!("  {:<11} {moves_left}", "Moves left");
    println!();
    seats::print(&listed, total, now);
    if !suspected.is_empty() {
        println!();
        super::suspicions::print(&suspected);
    }
    Ok(())
}

pub(super) async fn set(
    storage: &Storage,
    key: &str,
    status: Status,
    message: Option<String>,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let store = open_store(storage).await?;
    let license = set_status(&store, key, status, message.as_deref(), &by_hand(now)).await?;
    store.close().await;
    if json {
        println!("{}", serde_json::to_string_pretty(&license)?);
    } else {
        println!(
            "{} is {status}; its sites learn of it with their next validation",
            license.license_key
        );
    }
    Ok(())
}

pub(super) async fn renew(
    storage: &Storage,
    command: Renew,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let end = command.until.end(now)?;
    anyhow::ensure!(
        end.is_some() || command.never,
        "say until when: --expires-at 2030-12-31, --expires-in-days 365, or --never"
    );
    let key = super::license_key(command.key)?;
    let store = open_store(storage).await?;
    let license = licensing::renew::renew(&store, &key, end, &by_hand(now)).await?;
    store.close().await;
    if json {
        println!("{}", serde_json::to_string_pretty(&license)?);
    } else {
        println!(
            "{} expires {}; its sites learn of it with their next validation",
            license.license_key,
            table::time(license.expires_at, "never")
        );
    }
    Ok(())
}

/// What a license holds, a line each.
pub(super) fn describe(license: &License) {
    let status = match &license.status_message {
        Some(message) => format!("{} ({message})", license.status),
        None => license.status.to_string(),
    };
    for (label, text) in [
        ("Customer", license.customer.clone()),
        ("Tier", license.tier.clone()),
        ("Status", status),
        ("Expires", table::time(license.expires_at, "never")),
        ("Cameras", table::limit(license.max_cameras)),
        ("Users", table::limit(license.max_users)),
        ("Storage GB", table::limit(license.max_storage_gb)),
        ("Seats", license.seats.to_string()),
        (
            "Moves",
            format!("{} in {} days", license.moves, license.moves_period_days),
        ),
        ("Features", license.features.join(", ")),
    ] {
        println!("  {label:<11} {}", table::plain(&text));
    }
}
