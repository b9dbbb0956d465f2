//! `license-server seats …`

use chrono::{DateTime, Utc};
use clap::{Subcommand, value_parser};
use license_console::escaped::{self, escaped};
use license_service::secret_argument::SecretArgument;
use license_service::stdout::note_change;
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::cli::invocation::Invocation;
use crate::cli::{license_key, table};
use crate::licensing;
use crate::licensing::current::current;
use crate::licensing::look_up::look_up;
use crate::licensing::seats::{ListedSeat, ReleaseError, SeatsPage, in_seconds, seats_page};
use crate::open::open_store;
use crate::store::StoreError;
use crate::store::licenses::License;
use crate::store::page::PageStart;
use crate::store::seats::{MAX_LISTED, SeatsCursor, SeatsQuery};
use license_service::cursor::from_text;

/// Default number of seats in a list.
pub(super) const DEFAULT_LIMIT: u64 = 100;

#[derive(Debug, Subcommand)]
pub(super) enum Seats {
    /// List the current and former seats of a license
    #[command(after_help = "Examples:\n  \
        license-server seats list FXSGHT-ABCD-EFGH-JKMN-PQRS\n  \
        license-server seats list FXSGHT-ABCD-EFGH-JKMN-PQRS --limit 1000")]
    List {
        /// License key, in uppercase or lowercase, with or without hyphens; - reads it from
        /// standard input
        key: SecretArgument,

        /// Maximum number of seats, up to 1000; default is 100 in a table, and all with --json
        #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=MAX_LISTED))]
        limit: Option<u64>,

        /// Continue after the page that ended with this cursor
        #[arg(long, value_name = "CURSOR", value_parser = from_text::<SeatsCursor>)]
        cursor: Option<SeatsCursor>,
    },

    /// Free the seat of a machine for another machine
    #[command(after_help = "Example:\n  \
        license-server seats free FXSGHT-ABCD-EFGH-JKMN-PQRS 42aac9ae7f55…")]
    Free {
        /// License key, in uppercase or lowercase, with or without hyphens; - reads it from
        /// standard input
        key: SecretArgument,
        /// Hardware id, as shown by 'seats list', or at least its first 8 characters
        #[arg(allow_hyphen_values = true)]
        hardware_id: String,
    },

    /// Release a freed seat before its lease has ended, so that another machine can take
    /// the seat without using a move
    #[command(after_help = "Examples:\n  \
        license-server seats release FXSGHT-ABCD-EFGH-JKMN-PQRS 42aac9ae7f55…\n  \
        license-server seats release FXSGHT-ABCD-EFGH-JKMN-PQRS 42aac9ae7f55… --confirm-until 2030-03-31T12:00:00Z")]
    Release {
        /// License key, in uppercase or lowercase, with or without hyphens; - reads it from
        /// standard input
        key: SecretArgument,
        /// Hardware id, as shown by 'seats list', or at least its first 8 characters
        #[arg(allow_hyphen_values = true)]
        hardware_id: String,

        /// Time until which the old machine may still run, to confirm the release; without this
        /// option, the command shows the time and releases nothing
        #[arg(long, value_name = "INSTANT")]
        confirm_until: Option<DateTime<Utc>>,
    },
}

pub(super) async fn run(
    invocation: &Invocation,
    command: Seats,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let store = open_store(&invocation.storage).await?;
    match command {
        Seats::List { key, limit, cursor } => {
            let license = look_up(&store, &license_key(key)?).await?;
            let license = current(store.reader(), license, now).await?;
            let query = SeatsQuery {
                start: cursor.map_or_else(PageStart::default, PageStart::After),
                ..SeatsQuery::default()
            };
            let listed = match (limit, json) {
                (None, true) => all_seats(store.reader(), &license, query, now).await?,
                (limit, _) => {
                    let limit = limit.unwrap_or(DEFAULT_LIMIT);
                    seats_page(store.reader(), &license, &query, limit, now).await?
                }
            };
            if json {
                println!("{}", escaped::json(&json!(listed))?);
            } else {
                print(&listed, now);
            }
        }
        Seats::Free { key, hardware_id } => {
            let key = license_key(key)?;
            let change = invocation.change(&store, now).await?;
            let seat = licensing::seats::free(&store, &key, &hardware_id, &change).await?;
            note_change("the seat was freed; see 'license-server seats list'");
            if json {
                println!("{}", escaped::json(&seat)?);
            } else {
                println!("Freed the seat of {}", escaped(&seat.hardware_id));
                if let Some(until) = seat.signed_until.filter(|_| seat.state().is_waiting(now)) {
                    println!(
                        "The machine may run until {}. Until then, another machine can take the seat \
                        with a move, or after 'license-server seats release'.",
                        in_seconds(until)
                    );
                }
            }
        }
        Seats::Release {
            key,
            hardware_id,
            confirm_until,
        } => {
            let (key, change) = (license_key(key)?, invocation.change(&store, now).await?);
            let releasing =
                licensing::seats::release(&store, &key, &hardware_id, confirm_until, &change);
            let seat = match releasing.await {
                Err(ReleaseError::Unconfirmed { until, .. }) => anyhow::bail!(
                    "the machine may run until {0}, at the same time as its replacement; to release \
                    the seat, repeat the command with --confirm-until {0}",
                    in_seconds(until)
                ),
                released => released?,
            };
            note_change("the seat was released; see 'license-server seats list'");
            if json {
                println!("{}", escaped::json(&seat)?);
            } else {
                println!("Released the seat of {}", escaped(&seat.hardware_id));
            }
        }
    }
    store.close().await;
    Ok(())
}

/// All seats of a license, as one page.
async fn all_seats(
    db: &impl ConnectionTrait,
    license: &License,
    mut query: SeatsQuery,
    now: DateTime<Utc>,
) -> Result<SeatsPage, StoreError> {
    let mut all = seats_page(db, license, &query, MAX_LISTED, now).await?;
    while all.next_cursor.is_some()
        && let Some(cursor) = all.seats.last().and_then(|it| it.seat.cursor())
    {
        query.start = PageStart::After(cursor);
        let more = seats_page(db, license, &query, MAX_LISTED, now).await?;
        all.seats.extend(more.seats);
        all.next_cursor = more.next_cursor;
    }
    Ok(all)
}

/// Seats as a table.
pub(super) fn print(page: &SeatsPage, now: DateTime<Utc>) {
    let (seats, total) = (&page.seats, page.total);
    if total == 0 {
        println!("No machine has activated this license yet.");
        return;
    }
    let rows: Vec<_> = seats
        .iter()
        .map(|ListedSeat { seat, is_excess }| {
            let state = seat.state();
            let still_runs = seat.signed_until.filter(|_| state.may_run(now));
            [
                seat.hardware_id.clone(),
                table::time(Some(seat.activated_at), ""),
                table::time(Some(seat.last_seen_at), ""),
                table::time(seat.freed_at, "held"),
                table::time(still_runs, "–"),
                match (state.occupies(now), state.overlap) {
                    (true, _) if *is_excess => "excess".to_owned(),
                    (true, _) => "yes".to_owned(),
                    (false, Some(overlap)) if state.may_run(now) => overlap.as_str().to_owned(),
                    (false, _) => "no".to_owned(),
                },
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
            "MAY RUN UNTIL",
            "COUNTS",
            "INSTALLATION",
        ],
        &rows,
    );
    if page.seats_held > u64::from(page.license_seats) {
        println!("{}", over_seats(page.seats_held, page.license_seats));
    }
    if let Some(cursor) = &page.next_cursor {
        let shown = seats.len();
        println!(
            "{shown} of {total} seats; continue with 'license-server seats list' and --cursor {cursor}."
        );
    }
}

/// What more held seats than a license has means.
pub(super) fn over_seats(held: u64, seats: u32) -> String {
    format!(
        "Seats held: {held} of {seats}. The machines that took their seats last get no new lease, \
         and run until their current lease and grace period end. To keep one of these machines \
         licensed, free the seat of another machine."
    )
}
