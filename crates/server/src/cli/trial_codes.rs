//! `license-server trial-codes …`

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, value_parser};
use license_console::escaped;
use license_core::issued_code::{CodeKind, IssuedCode};
use license_core::license_key::LicenseKeyError;
use license_core::plan::PlanChoice;
use license_core::trial::MAX_STARTS;
use license_service::secret_argument::{SecretArgument, SecretForm};
use license_service::stderr::say;
use license_service::stdout::note_change;
use serde_json::json;
use uuid::Uuid;

use crate::cli::invocation::Invocation;
use crate::cli::{additions, table};
use crate::config::Storage;
use crate::licensing::trial_codes::{
    ShownNewTrialCode, ShownTrialCode, TrialCodeRequest, add_trial_code, forget_trial,
    withdraw_trial_code,
};
use crate::open::open_store;
use crate::store::page::Storable;
use crate::store::trial_codes::{TrialCodesCursor, newest};

/// Codes per query.
const AT_A_TIME: u64 = 1000;

/// The form of trial codes.
const TRIAL_CODE: SecretForm = SecretForm {
    name: "trial code",
    example: "FXSTRY-XXXX-XXXX-XXXX-XXXX",
    find: |text| match IssuedCode::parse(CodeKind::Trial, text) {
        Ok(code) => Some(code.as_str().to_owned()),
        Err(error) => match error.fault {
            LicenseKeyError::Form(_) => None,
            _ => Some(text.trim().to_owned()),
        },
    },
};

#[derive(Debug, Subcommand)]
pub(super) enum TrialCodes {
    /// Create a trial code and print it; the code cannot be shown again
    #[command(after_help = "Examples:\n  \
        license-server trial-codes add --plan trial --max 200 --ends 2027-06-30 --note 'Fair'\n  \
        license-server trial-codes add --plan trial@2 --max 1000 --max-a-day 50 > trial-code\n\n\
        Each installation can start one trial: with 'license-client start-trial', in the console \
        or by request file.")]
    Add(Add),

    /// List all trial codes, newest first, including those that were withdrawn
    #[command(after_help = "Examples:\n  \
        license-server trial-codes list\n  license-server trial-codes list --json")]
    List,

    /// Withdraw a trial code: it can no longer start trials
    #[command(after_help = "Examples:\n  \
        license-server trial-codes withdraw 3f2c8a54-6a3e-4a0e-9d53-0a1f3f1f3b11\n  \
        license-server trial-codes withdraw - < trial-code")]
    Withdraw {
        /// Trial code or its id; - reads it from standard input
        code: SecretArgument,
    },

    /// Remove the record that an installation has started a trial, so that the installation can
    /// start another trial
    #[command(
        after_help = "The license of the trial stays unchanged. Use this if a site is refused \
        because another machine has used the site's installation id, or because the site has lost \
        STATE_DIR.\n\n\
        Example:\n  \
        license-server trial-codes forget-trial b5684f06-7c6a-4b44-bfbd-68bd127e7617"
    )]
    ForgetTrial {
        /// Id of the installation
        installation: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Plan of the trials, which must be a plan for trials with a duration; default is the newest
    /// version
    #[arg(long, value_name = "NAME[@VERSION]")]
    plan: PlanChoice,

    /// Maximum number of trials
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=i64::from(MAX_STARTS)))]
    max: u32,

    /// Maximum number of trials per day (UTC); default is no daily maximum
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=i64::from(MAX_STARTS)))]
    max_a_day: Option<u32>,

    /// Last day, or exact end, of the trial code (UTC); default is no end
    #[arg(long, value_name = "DATE", value_parser = additions::end)]
    ends: Option<DateTime<Utc>>,

    /// Free-text note
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

pub(super) async fn run(
    invocation: &Invocation,
    command: TrialCodes,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    match command {
        TrialCodes::Add(command) => add(invocation, command, json, now).await,
        TrialCodes::ForgetTrial { installation } => {
            let store = open_store(&invocation.storage).await?;
            let change = invocation.change(&store, now).await?;
            let trial = forget_trial(&store, &installation, &change).await?;
            note_change("the trial was forgotten; see 'license-server audit'");
            store.close().await;
            if json {
                let shown = json!({
                    "installationId": trial.installation_id,
                    "licenseId": trial.license_id,
                });
                println!("{}", escaped::json(&shown)?);
            } else {
                println!("The installation can start another trial.");
            }
            Ok(())
        }
        TrialCodes::List => list(&invocation.storage, json, now).await,
        TrialCodes::Withdraw { code } => {
            let code = named(code)?;
            let store = open_store(&invocation.storage).await?;
            let withdrawn =
                withdraw_trial_code(&store, &code, &invocation.change(&store, now).await?).await?;
            note_change("the trial code was withdrawn; see 'license-server trial-codes list'");
            store.close().await;
            let started = withdrawn.allowance.started;
            if json {
                let shown = ShownTrialCode::of(withdrawn, now);
                println!("{}", escaped::json(&shown)?);
            } else {
                println!(
                    "{} can no longer start trials; running trials continue ({started} started)",
                    withdrawn.masked
                );
            }
            Ok(())
        }
    }
}

/// An id, which is no secret, or a code.
fn named(code: SecretArgument) -> anyhow::Result<String> {
    if code.is_stdin() {
        return code.read(TRIAL_CODE);
    }
    let text = code.clone().read_without_warning(TRIAL_CODE.name)?;
    match Uuid::try_parse(&text) {
        Ok(_) => Ok(text),
        Err(_) => code.read(TRIAL_CODE),
    }
}

async fn add(
    invocation: &Invocation,
    command: Add,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let request = TrialCodeRequest {
        plan: command.plan,
        max: command.max,
        max_a_day: command.max_a_day,
        ends_at: command.ends,
        note: command.note,
    };
    let store = open_store(&invocation.storage).await?;
    let (code, stored) =
        add_trial_code(&store, &request, &invocation.change(&store, now).await?).await?;
    note_change("the trial code was created; see 'license-server trial-codes list'");
    store.close().await;
    if json {
        let shown = ShownNewTrialCode::of(&code, stored, now);
        println!("{}", escaped::json(&shown)?);
        return Ok(());
    }
    println!("{}", code.as_str());
    say(format_args!(
        "note: this is the only time that the trial code {} is shown; anyone who has it can start a \
         trial with 'license-client start-trial'",
        stored.id
    ));
    Ok(())
}

async fn list(storage: &Storage, json: bool, now: DateTime<Utc>) -> anyhow::Result<()> {
    let store = open_store(storage).await?;
    let mut codes = Vec::new();
    let mut after: Option<TrialCodesCursor> = None;
    loop {
        let page = newest(store.reader(), after.as_ref(), AT_A_TIME).await?;
        let is_last = !page.has_more;
        after = page.rows.last().map(|last| TrialCodesCursor {
            created_at: Storable::of_row(last.created_at),
            id: last.id.clone(),
        });
        codes.extend(page.rows.into_iter().map(|it| ShownTrialCode::of(it, now)));
        if is_last {
            break;
        }
    }
    store.close().await;
    if json {
        println!("{}", escaped::json(&codes)?);
        return Ok(());
    }
    if codes.is_empty() {
        println!("No trial codes.");
        return Ok(());
    }
    let rows: Vec<_> = codes
        .into_iter()
        .map(|code| {
            let max = code
                .max
                .map_or("unlimited".to_owned(), |max| max.to_string());
            [
                code.id,
                code.masked_code,
                code.plan,
                format!("{} of {max}", code.started),
                code.max_a_day.to_string(),
                table::time(code.ends_at, "never"),
                if code.usable { "yes" } else { "no" }.to_owned(),
                code.note.unwrap_or_default(),
            ]
        })
        .collect();
    let head = [
        "ID", "CODE", "PLAN", "STARTED", "A DAY", "ENDS", "USABLE", "NOTE",
    ];
    table::print(head, &rows);
    Ok(())
}
