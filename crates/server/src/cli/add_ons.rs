//! `license-server addons …`

mod grants;
mod listing;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, value_parser};
use license_console::escaped::{self, escaped};
use license_core::issued_code::{CodeKind, IssuedCode};
use license_core::license_key::LicenseKeyError;
use license_core::plan::PlanChoice;
use license_service::cursor::from_text;
use license_service::secret_argument::{SecretArgument, SecretForm};
use license_service::stderr::say;
use license_service::stdout::note_change;

use crate::cli::invocation::Invocation;
use crate::cli::{additions, amend, table};
use crate::config::Storage;
use crate::licensing::add_ons::{
    AddOnRequest, ShownAddOn, ShownNewAddOn, issue_add_on, look_up_add_on,
};
use crate::licensing::redeem::{ShownRedeemedAddOn, redeem_add_on};
use crate::licensing::refund::{ShownRefundedAddOn, refund_add_on};
use crate::open::open_store;
use crate::store::add_ons::{AddOnState, AddOnsCursor, StoredAddOn};
use crate::store::licenses::MAX_LISTED;
use grants::Grants;
use listing::{list, words};

/// The form of add-on keys.
const ADD_ON_KEY: SecretForm = SecretForm {
    name: "add-on key",
    example: "FXSADD-XXXX-XXXX-XXXX-XXXX",
    find: |text| match IssuedCode::parse(CodeKind::AddOn, text) {
        Ok(key) => Some(key.as_str().to_owned()),
        Err(error) => match error.fault {
            LicenseKeyError::Form(_) => None,
            _ => Some(text.trim().to_owned()),
        },
    },
};

#[derive(Debug, Subcommand)]
pub(super) enum AddOns {
    /// Issue an add-on key and print it; the key cannot be shown again
    #[command(after_help = "Examples:\n  \
        license-server addons issue --add cameras=16 --order 4712\n  \
        license-server addons issue --add module.analytics_advanced --until 2027-07-29\n  \
        license-server addons issue --add module.analytics_advanced --for P90D --redeem-by 2027-12-31\n  \
        license-server addons issue --plan analytics-90 > add-on-key\n\n\
        Days are in UTC. The --for period starts on the day the key is redeemed.")]
    Issue(Box<Issue>),

    /// List add-on keys, newest first
    #[command(after_help = "Examples:\n  \
        license-server addons list\n  \
        license-server addons list --state redeemed --json")]
    List(List),

    /// Show an add-on key and its state
    #[command(after_help = "Examples:\n  \
        license-server addons show 31\n  \
        license-server addons show - < add-on-key")]
    Show {
        /// Add-on key or its number; - reads it from standard input
        add_on: SecretArgument,
    },

    /// Apply an add-on key to a license; this amends the license
    #[command(after_help = "Examples:\n  \
        license-server addons redeem FXSGHT-ABCD-EFGH-JKMN-PQRS - --preview < add-on-key\n  \
        license-server addons redeem FXSGHT-ABCD-EFGH-JKMN-PQRS - < add-on-key\n\n\
        Sites receive what the key grants at their next validation. Redeeming the key again for \
        the same license changes nothing.")]
    Redeem {
        /// License key, in uppercase or lowercase, with or without hyphens, or license id
        license: SecretArgument,
        /// Add-on key; - reads it from standard input
        add_on: SecretArgument,
        /// Only show what would change
        #[arg(long)]
        preview: bool,
    },

    /// Refund an add-on key: it can no longer be redeemed, and its entitlements end
    #[command(after_help = "Examples:\n  \
        license-server addons refund 31 --preview\n  \
        license-server addons refund 31 --reason 'Ordered twice'")]
    Refund {
        /// Add-on key or its number; - reads it from standard input
        add_on: SecretArgument,
        /// Reason for the refund
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Only show what would change
        #[arg(long)]
        preview: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Issue {
    /// Plan for add-on keys whose entitlements the key grants; default is the newest version
    #[arg(long, value_name = "NAME[@VERSION]", conflicts_with = "add")]
    plan: Option<PlanChoice>,

    #[command(flatten)]
    grants: Grants,

    /// Last day, or exact deadline, for redeeming the key (UTC); default is no deadline
    #[arg(long, value_name = "DATE", value_parser = additions::end)]
    redeem_by: Option<DateTime<Utc>>,

    /// Order reference, recorded in the amendment
    #[arg(long, value_name = "TEXT")]
    order: Option<String>,

    /// Free-text note
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only add-on keys in this state
    #[arg(long, value_enum, value_name = "STATE")]
    state: Option<AddOnState>,

    /// Only add-on keys redeemed for this license (key or id)
    #[arg(long, value_name = "LICENSE")]
    license: Option<SecretArgument>,

    /// Maximum number of add-on keys, up to 10000; default is 100 in a table, and all with --json
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=MAX_LISTED))]
    limit: Option<u64>,

    /// Continue after the page that ended with this cursor
    #[arg(long, value_name = "CURSOR", value_parser = from_text::<AddOnsCursor>)]
    cursor: Option<AddOnsCursor>,
}

pub(super) async fn run(
    invocation: &Invocation,
    command: AddOns,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    match command {
        AddOns::Issue(command) => issue(invocation, *command, json, now).await,
        AddOns::List(command) => list(&invocation.storage, command, json).await,
        AddOns::Show { add_on } => show(&invocation.storage, &named(add_on)?, json).await,
        AddOns::Redeem {
            license,
            add_on,
            preview,
        } => {
            let license = license.read_without_warning("license key")?;
            let add_on = add_on.read(ADD_ON_KEY)?;
            redeem(invocation, &license, &add_on, preview, json, now).await
        }
        AddOns::Refund {
            add_on,
            reason,
            preview,
        } => {
            let add_on = named(add_on)?;
            refund(invocation, &add_on, reason.as_deref(), preview, json, now).await
        }
    }
}

/// A number, which is no secret, or a key.
fn named(add_on: SecretArgument) -> anyhow::Result<String> {
    let is_stdin = add_on.is_stdin();
    let text = add_on.clone().read_without_warning(ADD_ON_KEY.name)?;
    match is_stdin || text.parse::<i64>().is_ok() {
        true => Ok(text),
        false => add_on.read(ADD_ON_KEY),
    }
}

async fn issue(
    invocation: &Invocation,
    command: Issue,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let request = AddOnRequest {
        plan: command.plan,
        grants: command.grants.0,
        redeem_by: command.redeem_by,
        order: command.order,
        note: command.note,
    };
    let store = open_store(&invocation.storage).await?;
    let change = invocation.permitted_change(&store, now).await?;
    let (key, stored) = issue_add_on(&store, &request, &change).await?;
    note_change("the add-on key was issued; see 'license-server addons list'");
    store.close().await;
    if json {
        println!("{}", escaped::json(&ShownNewAddOn::of(&key, stored))?);
        return Ok(());
    }
    println!("{}", key.as_str());
    say(format_args!(
        "note: this is the only time that add-on key {} is shown; send it to the customer, who \
         redeems it with 'license-client redeem' or in the console",
        stored.id
    ));
    Ok(())
}

async fn show(storage: &Storage, text: &str, json: bool) -> anyhow::Result<()> {
    let store = open_store(storage).await?;
    let found = look_up_add_on(store.reader(), text).await?;
    store.close().await;
    if json {
        println!("{}", escaped::json(&ShownAddOn::from(found))?);
    } else {
        print(&found);
    }
    Ok(())
}

/// Prints an add-on key, one field per line.
fn print(add_on: &StoredAddOn) {
    let grants: Vec<String> = add_on.add_on.grants.iter().map(words).collect();
    let by = |at: Option<DateTime<Utc>>, by: &Option<String>| match (at, by) {
        (Some(at), Some(by)) => format!("{} by {by}", table::time(Some(at), "")),
        _ => String::new(),
    };
    let redeemed = add_on.add_on.redeemed.as_ref();
    println!("{}", escaped(&add_on.masked));
    for (label, text) in [
        ("Number", add_on.id.to_string()),
        ("State", add_on.state().as_str().to_owned()),
        ("Grants", grants.join(", ")),
        ("Plan", add_on.plan.clone().unwrap_or_default()),
        ("Redeem by", table::time(add_on.add_on.redeem_by, "")),
        ("Order", add_on.order.clone().unwrap_or_default()),
        ("Note", add_on.note.clone().unwrap_or_default()),
        (
            "Issued",
            by(Some(add_on.created_at), &Some(add_on.created_by.clone())),
        ),
        ("Redeemed", by(add_on.redeemed_at, &add_on.redeemed_by)),
        (
            "License",
            redeemed.map(|it| it.license.clone()).unwrap_or_default(),
        ),
        (
            "Amendment",
            redeemed
                .map(|it| it.amendment.to_string())
                .unwrap_or_default(),
        ),
        ("Refunded", by(add_on.refunded_at, &add_on.refunded_by)),
    ] {
        if !text.is_empty() {
            println!("  {label:<9} {}", escaped(&text));
        }
    }
}

async fn redeem(
    invocation: &Invocation,
    license: &str,
    add_on: &str,
    is_preview: bool,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let store = open_store(&invocation.storage).await?;
    let change = invocation.permitted_change(&store, now).await?;
    let redeemed = redeem_add_on(&store, license, add_on, &change, !is_preview).await?;
    if !is_preview {
        note_change("the add-on key was redeemed; see 'license-server addons list'");
    }
    store.close().await;
    if json {
        let shown = ShownRedeemedAddOn::of(redeemed, !is_preview, now);
        println!("{}", escaped::json(&shown)?);
        return Ok(());
    }
    match &redeemed.amended {
        Some(amended) => amend::print(amended, is_preview),
        None => println!(
            "The add-on key was already redeemed for this license as amendment {}; nothing was \
             changed.",
            redeemed.amendment
        ),
    }
    Ok(())
}

async fn refund(
    invocation: &Invocation,
    add_on: &str,
    reason: Option<&str>,
    is_preview: bool,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let store = open_store(&invocation.storage).await?;
    let change = invocation.permitted_change(&store, now).await?;
    let refunded = refund_add_on(&store, add_on, reason, &change, !is_preview).await?;
    if !is_preview {
        note_change("the add-on key was refunded; see 'license-server addons list'");
    }
    store.close().await;
    if json {
        let shown = ShownRefundedAddOn::of(refunded, !is_preview, now);
        println!("{}", escaped::json(&shown)?);
        return Ok(());
    }
    let key = escaped(&refunded.add_on.masked);
    match (&refunded.amended, is_preview) {
        (Some(amended), _) => amend::print(amended, is_preview),
        (None, true) => println!(
            "Preview: nothing was changed. {key} could no longer be redeemed. No license would \
             change, because no license includes what the key grants."
        ),
        (None, false) => {
            println!(
                "{key} can no longer be redeemed. No license was changed, because no license \
                 includes what the key grants."
            );
        }
    }
    Ok(())
}
