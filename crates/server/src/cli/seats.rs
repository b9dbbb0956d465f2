//! `license-server seats …`

use chrono::{DateTime, Utc};
use clap::Subcommand;

use crate::app::open_store;
use crate::cli::{by_hand, table};
use crate::config::Storage;
use crate::licensing;
use crate::licensing::look_up::look_up;
use crate::store::seats::{self, Seat};

#[derive(Debug, Subcommand)]
pub(super) enum Seats {
    /// List who holds a license, and who held it
    #[command(after_help = "Example:\n  license-server seats list FXSGHT-ABCD-EFGH-JKMN-PQRS")]
    List {
        /// License key, in any spelling
        key: String,
    },

    /// Take a machine's seat, so that another machine may have it
    #[command(after_help = "Example:\n  \
        license-server seats free FXSGHT-ABCD-EFGH-JKMN-PQRS 42aac9ae7f55…")]
    Free {
        /// License key, in any spelling
        key: String,
        /// Hardware id, as 'seats list' shows it
        hardware_id: String,
    },
}

pub(super) async fn run(
    storage: &Storage,
    command: Seats,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let store = open_store(storage).await?;
    match command {
        Seats::List { key } => {
            let license = look_up(&store, &key).await?;
            let all = seats::list(store.reader(), &license.id).await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&all)?);
            } else {
                print(&all);
            }
        }
        Seats::Free { key, hardware_id } => {
            let seat = licensing::seats::free(&store, &key, &hardware_id, &by_hand(now)).await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&seat)?);
            } else {
                println!("The seat of {hardware_id} is free");
            }
        }
    }
    store.close().await;
    Ok(())
}

/// Seats as a table.
pub(super) fn print(seats: &[Seat]) {
    if seats.is_empty() {
        println!("No machine has activated it yet.");
        return;
    }
    let rows: Vec<_> = seats
        .iter()
        .map(|seat| {
            [
                seat.hardware_id.clone(),
                table::time(Some(seat.activated_at), ""),
                table::time(Some(seat.last_seen_at), ""),
                table::time(seat.freed_at, "held"),
                seat.installation_name.clone(),
            ]
        })
        .collect();
    table::print(
        [
            "HARDWARE ID",
            "ACTIVATED",
            "LAST SEEN",
            "FREED",
            "INSTALLATION",
        ],
        &rows,
    );
}
