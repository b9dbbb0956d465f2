//! `license-server list`, `show`, `suspend`, `reinstate`, `revoke`

use chrono::{DateTime, Utc};
use clap::{Args, value_parser};
use license_console::escaped::{self, escaped};
use license_core::license_key::LicenseKey;
use license_core::plan::PlanChoice;
use license_service::secret_argument::{SecretArgument, warn_of_argument};
use license_service::stderr::say;
use license_service::stdout::note_change;
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::cli::invocation::Invocation;
use crate::cli::listing::{CsvFlag, DEFAULT_LIMIT, Format, JsonArray, print_csv};
use crate::cli::until::Until;
use crate::cli::{amend, seats, table};
use crate::config::Storage;
use crate::licensing;
use crate::licensing::amend::ShownAmended;
use crate::licensing::claim::moves_left;
use crate::licensing::current::{all_current, current};
use crate::licensing::day_words::{days, hours};
use crate::licensing::end_words::end_words;
use crate::licensing::exports::LicensesExport;
use crate::licensing::judge::{ShownLicense, ShownStatus};
use crate::licensing::look_up::look_up;
use crate::licensing::plans::find_plan;
use crate::licensing::proof_rule::require_proof;
use crate::licensing::renew::RenewRequest;
use crate::licensing::seats::seats_page;
use crate::licensing::status::set_status;
use crate::open::open_store;
use crate::store::licenses::{
    self, License, LicensesCursor, MAX_LISTED, Search, Status, list as list_licenses,
};
use crate::store::page::PageStart;
use crate::store::seats::SeatsQuery;
use crate::store::suspicions;
use license_service::cursor::{InvalidCursor, from_text, to_text};

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only licenses with this status
    #[arg(long)]
    status: Option<ShownStatus>,

    /// Only trials; with 'false', only licenses that are not trials
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    trial: Option<bool>,

    /// Only licenses of this plan or plan version
    #[arg(long, value_name = "NAME[@VERSION]")]
    plan: Option<PlanChoice>,

    /// Only licenses whose customer, key or installation contains this text, or that have a
    /// seat with this hardware id; - reads it from standard input
    #[arg(long, alias = "customer", value_name = "TEXT")]
    search: Option<SecretArgument>,

    /// Maximum number of licenses, up to 10000; default is 100 in a table, and all with
    /// --json
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=MAX_LISTED), conflicts_with = "csv")]
    limit: Option<u64>,

    /// Continue after the page that ended with this cursor
    #[arg(long, value_name = "CURSOR", value_parser = from_text::<LicensesCursor>, conflicts_with = "csv")]
    cursor: Option<LicensesCursor>,

    #[command(flatten)]
    csv: CsvFlag,
}

#[derive(Debug, Args)]
pub(super) struct Renew {
    /// License key, in uppercase or lowercase, with or without hyphens; - reads it from standard
    /// input
    key: SecretArgument,

    #[command(flatten)]
    until: Until,

    /// The license never expires
    #[arg(long, conflicts_with_all = ["expires_at", "expires_in_days"])]
    never: bool,

    /// Reason for the renewal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Order reference
    #[arg(long, value_name = "TEXT")]
    order: Option<String>,

    /// Number of the newest amendment that you know of; the command fails if the license has a
    /// newer one
    #[arg(long, value_name = "N")]
    after: Option<u32>,

    /// Only show what would change
    #[arg(long)]
    preview: bool,
}

pub(super) async fn list(
    storage: &Storage,
    command: List,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let format = command.csv.format(json)?;
    let text = command.search.map_or(Ok(String::new()), searched)?;
    let store = open_store(storage).await?;
    let search = Search {
        text,
        state: command.status.map(|status| (status.state(), now)),
        trial: command.trial,
        plan: command.plan,
        ..Search::default()
    };
    let db = store.reader();
    if let Some(plan) = &search.plan {
        find_plan(db, plan).await?;
    }
    let start = match command.cursor {
        Some(cursor) if search.has(&cursor) => PageStart::After(cursor),
        Some(_) => anyhow::bail!(InvalidCursor),
        None => PageStart::default(),
    };
    if format == Format::Csv {
        print_csv(&store, LicensesExport::new(search, now)).await?;
        store.close().await;
        return Ok(());
    }
    if format == Format::Json {
        let limit = command.limit.unwrap_or(u64::MAX);
        let next = print_json(db, &search, start, limit, now).await?;
        store.close().await;
        if let Some(cursor) = next {
            let cursor = to_text(&cursor);
            say(format_args!(
                "note: there are more licenses; continue with --cursor {cursor}"
            ));
        }
        return Ok(());
    }
    let limit = command.limit.unwrap_or(DEFAULT_LIMIT);
    print_table(db, &search, &start, limit, now).await?;
    store.close().await;
    Ok(())
}

/// Prints a page as a table, and how to continue.
async fn print_table(
    db: &impl ConnectionTrait,
    search: &Search,
    start: &PageStart<LicensesCursor>,
    limit: u64,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let found = list_licenses(db, search, start, limit).await?;
    let next = found.next_cursor(|license| search.cursor(license));
    let found = all_current(db, found.rows, now).await?;
    let total = licenses::count(db, search).await?;
    if total == 0 {
        println!("No matching licenses. Issue one with 'license-server issue'.");
        return Ok(());
    }
    let shown = found.len();
    let rows: Vec<_> = found
        .into_iter()
        .map(|license| {
            let (status, ends) = (status_words(&license, now), expiry_words(&license));
            [
                license.license_key,
                license.tier,
                status,
                ends,
                license.customer,
            ]
        })
        .collect();
    table::print(["KEY", "TIER", "STATUS", "EXPIRES", "CUSTOMER"], &rows);
    if let Some(cursor) = next {
        println!(
            "{shown} of {total} licenses; continue with --cursor {cursor}, or use --json or --csv for \
             all."
        );
    }
    Ok(())
}

/// Prints an array of licenses page by page, so that it can be arbitrarily long. Returns where the
/// next page begins, if there are more licenses.
async fn print_json(
    db: &impl ConnectionTrait,
    search: &Search,
    mut start: PageStart<LicensesCursor>,
    limit: u64,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<LicensesCursor>> {
    let mut array = JsonArray::begin();
    let mut printed = 0;
    let next = loop {
        let size = (limit - printed).min(PAGE_SIZE);
        let found = list_licenses(db, search, &start, size).await?;
        let last = found.last_of_more();
        let last = last.map(|license| search.cursor(license));
        for license in all_current(db, found.rows, now).await? {
            array.push(&ShownLicense::of(license, now))?;
            printed += 1;
        }
        match last {
            Some(last) if printed < limit => start = PageStart::After(last),
            next => break next,
        }
    };
    array.end();
    Ok(next)
}

/// Licenses per query for JSON.
const PAGE_SIZE: u64 = 1000;

/// The search text. Usually it is not a secret.
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
    let license = current(db, look_up(&store, key).await?, now).await?;
    let query = SeatsQuery::default();
    let listed = seats_page(db, &license, &query, seats::DEFAULT_LIMIT, now).await?;
    let moves_left = moves_left(db, &license, now).await?;
    let suspected = suspicions::list(db, Some(&license.id), suspicions::MAX_PER_LICENSE).await?;
    let suspected = suspected.rows;
    store.close().await;
    if json {
        let whole = json!({
            "license": ShownLicense::of(license, now),
            "movesLeft": moves_left,
            "seats": listed.seats,
            "seatsTotal": listed.total,
            "nextCursor": listed.next_cursor,
            "suspicions": suspected,
        });
        println!("{}", escaped::json(&whole)?);
        return Ok(());
    }
    println!("{}\n", license.license_key);
    describe(&license, now);
    println!("  {:<11} {moves_left}", "Moves left");
    println!();
    seats::print(&listed, now);
    if !suspected.is_empty() {
        println!();
        super::suspicions::print(&suspected);
    }
    Ok(())
}

pub(super) async fn set(
    invocation: &Invocation,
    key: &str,
    status: Status,
    message: Option<String>,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let store = open_store(&invocation.storage).await?;
    let change = invocation.change(&store, now).await?;
    let license = set_status(&store, key, status, message.as_deref(), &change).await?;
    note_change("the status of the license was changed; see 'license-server show'");
    store.close().await;
    if json {
        let license = ShownLicense::of(license, now);
        println!("{}", escaped::json(&license)?);
    } else {
        let status = ShownStatus::of(&license, now).as_str();
        println!(
            "{} is {status}; its sites receive the change at their next validation, within a \
             day by default, or immediately with 'license-client validate' at the site",
            license.license_key
        );
    }
    Ok(())
}

pub(super) async fn require(
    invocation: &Invocation,
    key: &str,
    is_required: bool,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let store = open_store(&invocation.storage).await?;
    let change = invocation.change(&store, now).await?;
    let license = require_proof(&store, key, is_required, &change).await?;
    note_change("the proof requirement was changed; see 'license-server show --json'");
    store.close().await;
    if json {
        let license = ShownLicense::of(license, now);
        println!("{}", escaped::json(&license)?);
        return Ok(());
    }
    println!(
        "{}: {}",
        license.license_key,
        match is_required {
            true => "every call must prove an installation key",
            false => "calls for seats without an installation key need no proof",
        }
    );
    Ok(())
}

pub(super) async fn renew(
    invocation: &Invocation,
    command: Renew,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let end = command.until.end(now)?;
    anyhow::ensure!(
        end.is_some() || command.never,
        "missing end date; expected --expires-at 2030-12-31, --expires-in-days 365, or --never"
    );
    let key = super::license_key(command.key)?;
    let store = open_store(&invocation.storage).await?;
    let change = invocation.permitted_change(&store, now).await?;
    let request = RenewRequest {
        expires_at: end,
        after: command.after,
        reason: command.reason,
        order: command.order,
    };
    if command.preview {
        let previewed = licensing::renew::preview(&store, &key, &request, &change).await?;
        store.close().await;
        if json {
            let shown = ShownAmended::of(previewed, false, now);
            println!("{}", escaped::json(&shown)?);
        } else {
            amend::print(&previewed, true);
            amend::print_confirmation(&previewed);
        }
        return Ok(());
    }
    let license = licensing::renew::renew(&store, &key, &request, &change).await?;
    note_change("the end date of the license was changed; see 'license-server show'");
    store.close().await;
    if json {
        let license = ShownLicense::of(license, now);
        println!("{}", escaped::json(&license)?);
    } else {
        println!(
            "{} expires {}; its sites receive the change at their next validation, within a \
             day by default, or immediately with 'license-client validate' at the site",
            license.license_key,
            expiry_words(&license)
        );
    }
    Ok(())
}

/// Prints a license, one field per line.
pub(super) fn describe(license: &License, now: DateTime<Utc>) {
    let status = status_words(license, now);
    let status = match &license.status_message {
        Some(message) => format!("{status} ({message})"),
        None => status,
    };
    for (label, text) in [
        ("Customer", license.customer.clone()),
        ("Plan", license.plan.clone()),
        ("Status", status),
        ("Starts", table::time(license.starts_at, "when issued")),
        ("Expires", expiry_words(license)),
        ("Cameras", table::limit(license.max_cameras)),
        ("Users", table::limit(license.max_users)),
        ("Storage GB", table::limit(license.max_storage_gb)),
        ("Seats", license.seats.to_string()),
        (
            "Moves",
            format!("{} in {}", license.moves, days(license.moves_period_days)),
        ),
        ("Features", license.features.join(", ")),
    ] {
        println!("  {label:<11} {}", escaped(&text));
    }
    describe_terms(license);
}

/// The status of a license, and whether it is a trial.
fn status_words(license: &License, now: DateTime<Utc>) -> String {
    let status = ShownStatus::of(license, now).as_str();
    match license.trial {
        true => format!("{status}, trial"),
        false => status.to_owned(),
    }
}

/// When a license ends.
fn expiry_words(license: &License) -> String {
    end_words(license.end(), |at| table::time(Some(at), ""))
}

/// Prints the terms that are not the server's own defaults.
fn describe_terms(license: &License) {
    let updates = license.updates_until.map(|until| {
        let rule = license.updates.as_str();
        format!("until {} ({rule})", table::time(Some(until), ""))
    });
    for (label, text) in [
        ("Lease", license.lease_hours.map(hours)),
        ("Grace", license.grace_hours.map(hours)),
        ("Offline", license.offline_days.map(days)),
        ("Updates", updates),
    ] {
        if let Some(text) = text {
            println!("  {label:<11} {text}");
        }
    }
}
