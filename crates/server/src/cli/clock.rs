//! `license-server clock …`

use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use license_console::escaped;
use license_service::clock::SystemClock;
use license_service::stdout::note_change;

use crate::cli::invocation::Invocation;
use crate::cli::table;
use crate::licensing::clock::{ClockStatus, accept, status};
use crate::open::open_store;

#[derive(Debug, Subcommand)]
pub(super) enum Clock {
    /// Show this machine's clock, its reference, and whether the License Server can sign
    #[command(after_help = "Example:\n  license-server clock status")]
    Status,

    /// Confirm that this machine's clock is correct, so that the License Server can sign again
    #[command(
        after_help = "Compare the clock with another source first: if the clock is ahead,\n\
                      licenses signed from now on will end too late.\n\n\
                      Example:\n  license-server clock status && license-server clock accept"
    )]
    Accept,
}

pub(super) async fn run(
    invocation: &Invocation,
    command: Clock,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let store = open_store(&invocation.storage).await?;
    if let Clock::Accept = command {
        accept(&store, &SystemClock, &invocation.change(&store, now).await?).await?;
        note_change("the clock was accepted; see 'license-server clock status'");
    }
    let seen = status(&store, Arc::new(SystemClock)).await?;
    store.close().await;
    if json {
        println!("{}", escaped::json(&seen)?);
    } else {
        print(&seen);
    }
    Ok(())
}

fn print(seen: &ClockStatus) {
    let time = |time| table::time(time, "never");
    let database = seen.seconds_ahead_of_database.map_or_else(
        || "has no clock".to_owned(),
        |ahead| match ahead {
            0.. => format!("{ahead} s behind this clock"),
            _ => format!("{} s ahead of this clock", ahead.unsigned_abs()),
        },
    );
    let signs = match &seen.doubt {
        Some(doubt) => format!("no: {doubt}"),
        None => "yes".to_owned(),
    };
    println!("Clock:     {} UTC", time(Some(seen.clock)));
    println!("Database:  {database}");
    println!("Recorded:  {}", time(seen.recorded));
    println!("Accepted:  {}", time(seen.accepted));
    println!("Signs:     {signs}");
}
