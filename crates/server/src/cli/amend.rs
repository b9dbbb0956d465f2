//! `license-server amend` and `license-server amendments`

use std::str::FromStr;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::Args;
use license_console::escaped::{self, escaped};
use license_core::amendment::{Amendment, Effect, Value};
use license_core::entitlement::Quantity;
use license_core::plan::PlanChoice;
use license_service::secret_argument::SecretArgument;
use license_service::stdout::note_change;

use crate::cli::additions::{self, Additions};
use crate::cli::invocation::Invocation;
use crate::cli::listing::{CsvFlag, Format, print_csv};
use crate::cli::seats::over_seats;
use crate::cli::terms::TermArguments;
use crate::cli::{license_key, table};
use crate::config::Storage;
use crate::licensing::amend::{Affected, AmendRequest, Amended, ShownAmended, amend, preview};
use crate::licensing::amendment_words::{all_words, customer_names};
use crate::licensing::evaluation::evaluated;
use crate::licensing::exports::AmendmentsExport;
use crate::licensing::look_up::look_up;
use crate::open::open_store;
use crate::store::amendments::of_license;

#[derive(Debug, Args)]
pub(super) struct Amend {
    /// License key, in uppercase or lowercase, with or without hyphens; - reads it from standard
    /// input
    key: SecretArgument,

    /// Plan that replaces the current one; default is its newest version. Entitlements of the
    /// current plan end; entitlements that were added separately stay
    #[arg(long, value_name = "NAME[@VERSION]")]
    plan: Option<PlanChoice>,

    #[command(flatten)]
    additions: Additions,

    /// Feature or quantity to end, such as `module.map_view` or `cameras`; can be repeated
    #[arg(long, value_name = "KEY")]
    end: Vec<String>,

    /// Number of an amendment to undo
    #[arg(long, value_name = "N")]
    undo: Option<u32>,

    /// First day, or exact start, of the license (UTC), or 'none'
    #[arg(long, value_name = "DATE")]
    starts: Option<Start>,

    /// Last day, or exact end, of the license (UTC), or 'never'
    #[arg(long, value_name = "DATE")]
    expires: Option<End>,

    /// Customer: name, reference or id; a new name adds a customer, '' removes the customer
    /// from the license
    #[arg(long, value_name = "CUSTOMER")]
    customer: Option<String>,

    #[command(flatten)]
    terms: TermArguments,

    /// Reason for the amendment
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Order reference
    #[arg(long, value_name = "TEXT")]
    order: Option<String>,

    /// Day, or exact time, from which the amendment applies (UTC); default is immediately
    #[arg(long, value_name = "DATE", value_parser = additions::start)]
    effective: Option<DateTime<Utc>>,

    /// Number of the newest amendment that you know of; the command fails if the license has a
    /// newer one
    #[arg(long, value_name = "N")]
    after: Option<u32>,

    /// Only show what would change
    #[arg(long)]
    preview: bool,
}

#[derive(Debug, Args)]
pub(super) struct Amendments {
    /// License key, in uppercase or lowercase, with or without hyphens; - reads it from standard
    /// input; can be omitted with --csv, to print the amendments of all licenses
    #[arg(required_unless_present = "csv")]
    key: Option<SecretArgument>,

    #[command(flatten)]
    csv: CsvFlag,
}

/// The start of a license, or none.
#[derive(Clone, Copy, Debug)]
struct Start(Option<DateTime<Utc>>);

/// The end of a license, or never.
#[derive(Clone, Copy, Debug)]
struct End(Option<DateTime<Utc>>);

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            text => additions::start(text).map(|at| Self(Some(at))),
        }
    }
}

impl FromStr for End {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self(None)),
            text => additions::end(text).map(|at| Self(Some(at))),
        }
    }
}

pub(super) async fn run(
    invocation: &Invocation,
    command: Amend,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let request = AmendRequest {
        after: command.after,
        reason: command.reason,
        order: command.order,
        effective_at: command.effective,
        undoes: command.undo,
        plan: command.plan,
        end: command.end,
        add: command.additions.0,
        starts_at: command.starts.map(|start| start.0),
        expires_at: command.expires.map(|end| end.0),
        customer: command.customer,
        terms: command.terms.changes(),
    };
    let key = license_key(command.key)?;
    let store = open_store(&invocation.storage).await?;
    let change = invocation.permitted_change(&store, now).await?;
    let amended = match command.preview {
        true => preview(&store, &key, &request, &change).await?,
        false => {
            let amended = amend(&store, &key, &request, &change).await?;
            note_change("the license was amended; see 'license-server amendments'");
            amended
        }
    };
    store.close().await;
    if json {
        let shown = ShownAmended::of(amended, !command.preview, now);
        println!("{}", escaped::json(&shown)?);
        return Ok(());
    }
    print(&amended, command.preview);
    if command.preview {
        print_confirmation(&amended);
    }
    Ok(())
}

/// Prints how a change is made that was previewed, unless others change the license before.
pub(super) fn print_confirmation(previewed: &Amended) {
    let after = previewed.amendment.number.saturating_sub(1);
    println!(
        "\nTo make this change, repeat the command with --after {after} instead of --preview. The \
         command fails if the license is amended in the meantime."
    );
}

/// Prints an amendment of a license with these amendments, what it changes, and where.
pub(super) fn print(amended: &Amended, is_preview: bool) {
    let number = amended.amendment.number;
    let key = &amended.license.license_key;
    match is_preview {
        true => {
            println!("Preview: nothing was changed. This would be amendment {number} of {key}:");
        }
        false => println!("Amendment {number} of {key}:"),
    }
    for statement in &amended.words {
        println!("  {}", escaped(statement));
    }
    for effect in &amended.effects {
        println!("\nFrom {}", time(effect.at));
        print_effect(effect);
    }
    println!();
    if amended.installations.is_empty() {
        println!("No seats of this license are in use.");
        return;
    }
    let (held, seats) = (amended.seats_held, amended.seats);
    if held > u64::from(seats) {
        println!("{}\n", over_seats(held, seats));
    }
    let rows: Vec<_> = amended.installations.iter().map(installation).collect();
    table::print(["INSTALLATION", "MACHINE", "RECEIVES IT BY", "OVER"], &rows);
}

fn print_effect(effect: &Effect) {
    let value = |value: Value| match value {
        Value::Feature(true) => "on".to_owned(),
        Value::Feature(false) => "off".to_owned(),
        Value::Count(Quantity::Unlimited) => "unlimited".to_owned(),
        Value::Count(Quantity::Of(number)) => number.to_string(),
    };
    for change in &effect.changes {
        let (before, after) = (value(change.before), value(change.after));
        let key = escaped(change.key.as_str());
        match before == after {
            true => println!("  {key}: {after}, unchanged by the amendment"),
            false => println!("  {key}: {after} instead of {before}"),
        }
    }
}

fn installation(affected: &Affected) -> [String; 4] {
    let over = affected.over.iter().map(|over| {
        let (used, granted) = (over.used, over.granted);
        let more = used.saturating_sub(granted);
        let key = escaped(over.resource.as_str());
        format!(
            "{key} {used} of {granted} ({more} over) from {}",
            time(over.at)
        )
    });
    let excess = affected.is_excess.then(|| match affected.ends_at {
        Some(end) => format!("seat, runs until {}", time(end)),
        None => "seat".to_owned(),
    });
    [
        affected.seat.installation_name.clone(),
        affected.seat.hardware_id.clone(),
        table::time(affected.learns_by, "unknown"),
        excess
            .into_iter()
            .chain(over)
            .collect::<Vec<_>>()
            .join(", "),
    ]
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

pub(super) async fn list(storage: &Storage, command: Amendments, json: bool) -> anyhow::Result<()> {
    let format = command.csv.format(json)?;
    let key = command.key.map(license_key).transpose()?;
    let store = open_store(storage).await?;
    let license = match &key {
        Some(key) => Some(look_up(&store, key).await?),
        None => None,
    };
    let license = match (format, license) {
        (Format::Csv, license) => {
            let export = AmendmentsExport::new(license.map(|it| it.id));
            print_csv(&store, export).await?;
            store.close().await;
            return Ok(());
        }
        (_, license) => license.context("missing license key")?,
    };
    let amendments = of_license(store.reader(), &license.id).await?;
    let names = customer_names(store.reader(), &amendments).await?;
    if json {
        store.close().await;
        println!("{}", escaped::json(&amendments)?);
        return Ok(());
    }
    let (amendments, words) = evaluated(&store, move |evaluating| {
        let of: Vec<&Amendment> = amendments.iter().collect();
        let words = all_words(evaluating, &of, &amendments, &names);
        (amendments, words)
    })
    .await?;
    store.close().await;
    let rows: Vec<_> = amendments
        .iter()
        .zip(words)
        .map(|(amendment, words)| {
            [
                amendment.number.to_string(),
                table::time(Some(amendment.recorded_at), ""),
                table::time(Some(amendment.effective_at), ""),
                amendment.author.clone(),
                amendment.order.clone().unwrap_or_default(),
                amendment.reason.clone().unwrap_or_default(),
                words.join(", "),
            ]
        })
        .collect();
    let head = [
        "NUMBER",
        "RECORDED",
        "EFFECTIVE",
        "AUTHOR",
        "ORDER",
        "REASON",
        "CHANGES",
    ];
    table::print(head, &rows);
    Ok(())
}
