//! `license-server list`, `show`, `suspend`, `reinstate`, `revoke`

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use crate::app::open_store;
use crate::cli::until::Until;
use crate::cli::{by_hand, seats, table};
use crate::config::Storage;
use crate::licensing;
use crate::licensing::look_up::look_up;
use crate::licensing::status::set_status;
use crate::store::licenses::{License, Search, Status};
use crate::store::suspicions;

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only licenses with this status
    #[arg(long)]
    status: Option<Status>,

    /// Only licenses whose customer, key or installation contains this text, or
    /// which a machine with this hardware id holds
    #[arg(long, alias = "customer", default_value = "", value_name = "TEXT")]
    search: String,

    /// At most so many
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: u64,
}

#[derive(Debug, Args)]
pub(super) struct Renew {
    /// License key, in any spelling
    key: String,

    #[command(flatten)]
    until: Until,

    /// It never expires
    #[arg(long, conflicts_with_all = ["expires_at", "expires_in_days"])]
    never: bool,
}

pub(super) async fn list(storage: &Storage, command: &List, json: bool) -> anyhow::Result<()> {
    let store = open_store(storage).await?;
    let search = Search {
        text: command.search.clone(),
        status: command.status,
        ..Search::default()
    };
    let found = crate::store::licenses::list(store.reader(), &search, 0, command.limit);
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

pub(super) async fn show(storage: &Storage, key: &str, json: bool) -> anyhow::Result<()> {
    let store = open_store(storage).await?;
    let license = look_up(&store, key).await?;
    let held = crate::store::seats::list(store.reader(), &license.id).await?;
    let suspected = suspicions::list(store.reader(), Some(&license.id), 100).await?;
    store.close().await;
    if json {
        let both = json!({ "license": license, "seats": held, "suspicions": suspected });
        println!("{both:#}");
        return Ok(());
    }
    println!("{}\n", license.license_key);
    describe(&license);
    println!();
    seats::print(&held);
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
    command: &Renew,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let end = command.until.end(now)?;
    anyhow::ensure!(
        end.is_some() || command.never,
        "say until when: --expires-at 2030-12-31, --expires-in-days 365, or --never"
    );
    let store = open_store(storage).await?;
    let license = licensing::renew::renew(&store, &command.key, end, &by_hand(now)).await?;
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
        ("Features", license.features.join(", ")),
    ] {
        println!("  {label:<11} {}", table::plain(&text));
    }
}
