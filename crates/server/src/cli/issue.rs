//! `license-server issue`

use chrono::{DateTime, Utc};
use clap::Args;
use license_console::escaped;
use license_service::secret_argument::SecretArgument;
use license_service::stderr::say;
use license_service::stdout::note_change;

use crate::cli::licenses::describe;
use crate::cli::until::Until;
use crate::cli::{cli_change, license_key};
use crate::config::Storage;
use crate::licensing::catalogue::Tier;
use crate::licensing::issue::{IssueRequest, issue, unknown_features};
use crate::licensing::judge::ShownLicense;
use crate::open::open_store;

#[derive(Debug, Args)]
pub(super) struct Issue {
    /// Tier that sets features and limits
    #[arg(long)]
    tier: Tier,

    /// Customer
    #[arg(long, default_value = "", value_name = "NAME")]
    customer: String,

    /// Maximum number of machines at the same time
    #[arg(long, value_name = "N")]
    seats: Option<u32>,

    /// How many times per period a seat can move to another machine before the old
    /// machine's lease has ended; default 3
    #[arg(long, value_name = "N")]
    moves: Option<u32>,

    /// Length of that period in days; default 365
    #[arg(long, value_name = "DAYS")]
    moves_period_days: Option<u32>,

    /// Maximum number of cameras; -1 is unlimited
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    max_cameras: Option<i64>,

    /// Maximum number of users; -1 is unlimited
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    max_users: Option<i64>,

    /// Maximum storage for recordings in GB; -1 is unlimited
    #[arg(long, allow_negative_numbers = true, value_name = "N")]
    max_storage_gb: Option<i64>,

    /// Feature to add to the tier; can be repeated
    #[arg(long, value_name = "KEY")]
    with: Vec<String>,

    /// Feature of the tier to remove; can be repeated
    #[arg(long, value_name = "KEY")]
    without: Vec<String>,

    #[command(flatten)]
    until: Until,

    /// License key to use, for example one that was sold already; - reads it from standard
    /// input; default is a new key
    #[arg(long, value_name = "KEY")]
    key: Option<SecretArgument>,
}

pub(super) async fn run(
    storage: &Storage,
    command: Issue,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let request = IssueRequest {
        tier: command.tier,
        customer: command.customer,
        seats: command.seats,
        moves: command.moves,
        moves_period_days: command.moves_period_days,
        max_cameras: command.max_cameras,
        max_users: command.max_users,
        max_storage_gb: command.max_storage_gb,
        with: command.with,
        without: command.without,
        expires_at: command.until.end(now)?,
        key: command.key.map(license_key).transpose()?,
    };
    let store = open_store(storage).await?;
    let license = issue(&store, request, &cli_change(now)).await?;
    note_change("the license was issued; see 'license-server list'");
    store.close().await;
    let unknown = unknown_features(&license);
    if !unknown.is_empty() {
        say(format_args!(
            "note: this release has no feature {}; check the spelling",
            unknown.join(", ")
        ));
    }
    if json {
        let license = ShownLicense::of(license, now);
        println!("{}", escaped::json(&license)?);
    } else {
        println!("{}\n", license.license_key);
        describe(&license, now);
    }
    Ok(())
}
