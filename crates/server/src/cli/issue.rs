//! `license-server issue`

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::Args;
use license_console::escaped;
use license_core::entitlement::Quantity;
use license_core::plan::PlanChoice;
use license_service::secret_argument::SecretArgument;
use license_service::stdout::note_change;

use crate::cli::invocation::Invocation;
use crate::cli::licenses::describe;
use crate::cli::terms::TermArguments;
use crate::cli::until::Until;
use crate::cli::{additions, license_key};
use crate::licensing::amend::Addition;
use crate::licensing::catalogue::Tier;
use crate::licensing::issue::{IssueRequest, issue};
use crate::licensing::judge::ShownLicense;
use crate::open::open_store;

#[derive(Debug, Args)]
pub(super) struct Issue {
    /// Plan, with or without a version; default is the newest version
    #[arg(
        long,
        value_name = "NAME[@VERSION]",
        required_unless_present = "tier",
        conflicts_with = "tier"
    )]
    plan: Option<PlanChoice>,

    /// Plan with this name, in its newest version
    #[arg(long)]
    tier: Option<Tier>,

    /// Customer: name, reference or id; a new name adds a customer
    #[arg(long, default_value = "", value_name = "CUSTOMER")]
    customer: String,

    #[command(flatten)]
    terms: TermArguments,

    /// Maximum number of cameras; -1 is unlimited
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    max_cameras: Option<i64>,

    /// Maximum number of users; -1 is unlimited
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    max_users: Option<i64>,

    /// Maximum storage for recordings in GB; -1 is unlimited
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    max_storage_gb: Option<i64>,

    /// Quantity that replaces the plan's, such as `anpr_lanes=8` or `anpr_lanes=unlimited`; can be
    /// repeated
    #[arg(long = "quantity", value_name = "KEY=N", value_parser = quantity)]
    quantities: Vec<(String, Quantity)>,

    /// Feature to add to the plan; can be repeated
    #[arg(long, value_name = "KEY")]
    with: Vec<String>,

    /// Plan feature to exclude from the license; can be repeated
    #[arg(long, value_name = "KEY")]
    without: Vec<String>,

    /// First day, or exact start, of the license (UTC); default is immediately
    #[arg(long, value_name = "DATE", value_parser = additions::start)]
    starts: Option<DateTime<Utc>>,

    #[command(flatten)]
    until: Until,

    /// The license never ends, even if the plan has a duration
    #[arg(long, conflicts_with_all = ["expires_at", "expires_in_days"])]
    never_expires: bool,

    /// License key to use, for example one that has already been sold; - reads it from standard
    /// input; default is a new key
    #[arg(long, value_name = "KEY")]
    key: Option<SecretArgument>,
}

/// Reads `anpr_lanes=8` or `anpr_lanes=unlimited`.
fn quantity(text: &str) -> Result<(String, Quantity), String> {
    match text.parse()? {
        Addition {
            key,
            quantity: Some(quantity),
            ..
        } => Ok((key, quantity)),
        _ => Err("expected a key and a quantity, such as anpr_lanes=8".to_owned()),
    }
}

pub(super) async fn run(
    invocation: &Invocation,
    command: Issue,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let plan = command.plan.or(command.tier.map(PlanChoice::from));
    let plan = plan.context("missing plan; expected --plan NAME")?;
    let request = IssueRequest {
        customer: command.customer,
        terms: command.terms.changes(),
        max_cameras: command.max_cameras,
        max_users: command.max_users,
        max_storage_gb: command.max_storage_gb,
        quantities: command.quantities.into_iter().collect(),
        with: command.with,
        without: command.without,
        starts_at: command.starts,
        expires_at: command.until.end(now)?,
        never_expires: command.never_expires,
        key: command.key.map(license_key).transpose()?,
        ..IssueRequest::of(plan)
    };
    let store = open_store(&invocation.storage).await?;
    let change = invocation.permitted_change(&store, now).await?;
    let license = issue(&store, request, &change).await?;
    note_change("the license was issued; see 'license-server list'");
    store.close().await;
    if json {
        let license = ShownLicense::of(license, now);
        println!("{}", escaped::json(&license)?);
    } else {
        println!("{}\n", license.license_key);
        describe(&license, now);
    }
    Ok(())
}
