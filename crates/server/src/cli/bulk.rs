//! `license-server bulk …`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use license_console::escaped;
use license_service::clock::{Clock as _, SystemClock};
use license_service::output_file::{self, Readers};
use license_service::stderr::say;
use license_service::stdout::note_change;
use license_service::text_file;
use serde_json::json;

use crate::cli::invocation::Invocation;
use crate::licensing::bulk::{BulkAction, BulkFile, Line, LineResult, Outcome, process};
use crate::open::open_store;
use crate::spreadsheet::{Column, head, lines};
use crate::store::{Store, StoreError};

#[derive(Debug, Subcommand)]
pub(super) enum Bulk {
    /// Issue a license for each line
    #[command(
        after_help = "Columns: plan (required), customer, licenseKey, startsAt, expiresAt, \
        maxCameras, maxUsers,\nmaxStorageGb, with, without, seats and the other terms, as in the \
        API.\n\nExamples:\n  \
        license-server bulk issue --from orders.csv --dry-run\n  \
        license-server bulk issue --from orders.csv --result keys.csv"
    )]
    Issue(File),

    /// Set the end of a license for each line
    #[command(
        after_help = "Columns: licenseKey and expiresAt (a date, or 'never'), after, reason, order. \
        You can\nedit the output of 'license-server list --csv' and use it here; other columns are \
        ignored.\n\nExamples:\n  \
        license-server bulk renew --from renewals.csv --dry-run\n  \
        license-server bulk renew --from renewals.csv"
    )]
    Renew(File),

    /// Amend a license for each line
    #[command(
        after_help = "Columns: licenseKey (required), add (such as 'cameras=32; \
        module.map_view') with from and until,\nend, plan, startsAt, expiresAt, customer, \
        effectiveAt, undoes, after, reason, order, seats and the\nother terms, as in the API.\
        \n\nExamples:\n  \
        license-server bulk amend --from fair.csv --dry-run\n  \
        license-server bulk amend --from fair.csv"
    )]
    Amend(File),
}

#[derive(Debug, Args)]
pub(super) struct File {
    /// CSV file; the first line contains the column names
    #[arg(long, value_name = "FILE")]
    from: PathBuf,

    /// Check each line without changing anything
    #[arg(long)]
    dry_run: bool,

    /// File for the result of each line; default is FILE with '.csv' replaced by '.result.csv', or
    /// by '.dry-run.csv' for a dry run
    #[arg(long, value_name = "FILE")]
    result: Option<PathBuf>,

    /// Name by which a repeated command recognizes lines that have already been processed; default
    /// is the name of FILE, without its directory
    #[arg(long, value_name = "NAME")]
    batch: Option<String>,
}

/// Maximum size of a file.
const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;
/// How often the progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// Errors that are shown; the result file has all of them.
const MAX_SHOWN_ERRORS: usize = 20;

pub(super) async fn run(invocation: &Invocation, command: Bulk, json: bool) -> anyhow::Result<()> {
    let (action, command) = match command {
        Bulk::Issue(file) => (BulkAction::Issue, file),
        Bulk::Renew(file) => (BulkAction::Renew, file),
        Bulk::Amend(file) => (BulkAction::Amend, file),
    };
    let from = &command.from;
    let text = text_file::read_any(from, MAX_FILE_BYTES);
    let text = text.with_context(|| format!("'{}' cannot be read", from.display()))?;
    let name = from.file_name().map(|name| name.to_string_lossy());
    let batch = command
        .batch
        .unwrap_or_else(|| name.unwrap_or_default().into());
    let file = BulkFile::parse(&text, action, &batch)
        .with_context(|| format!("'{}' cannot be processed", from.display()))?;
    if !file.unused.is_empty() {
        let unused = file.unused.join(", ");
        say(format_args!("note: these columns are not used: {unused}"));
    }
    // The result of a run may have the keys of licenses.
    let extension = if command.dry_run {
        "dry-run.csv"
    } else {
        "result.csv"
    };
    let result = match command.result {
        Some(result) => result,
        None if has_directory(from) => from.with_extension(extension),
        None => anyhow::bail!(
            "'{}' is not a file with a directory for the result; choose a file with --result",
            from.display()
        ),
    };
    anyhow::ensure!(
        result != *from,
        "the result file must not be the input file; choose another file with --result"
    );
    let prepared = output_file::prepare(&result, Readers::Owner)?;
    let store = open_store(&invocation.storage).await?;
    if !command.dry_run {
        note_change("some lines may have been processed; repeat the command to process the rest");
    }
    let (results, stopped) =
        process_all(invocation, &store, action, &file.lines, command.dry_run).await;
    store.close().await;
    let written = [head(&COLUMNS), lines(&COLUMNS, &results)].concat();
    prepared.write(&String::from_utf8(written)?)?;
    let report = Report::of(&results, file.lines.len());
    report.print(command.dry_run, &result, json)?;
    if let Some((line, error)) = stopped {
        return Err(error).with_context(|| {
            format!(
                "stopped at line {line}; repeat the command to process the remaining lines: lines \
                 that have already been processed are skipped"
            )
        });
    }
    let failed = report.count(Outcome::Failed);
    anyhow::ensure!(
        failed == 0,
        "lines that failed: {failed}; see '{}'",
        result.display()
    );
    Ok(())
}

/// The columns of the result.
const COLUMNS: [Column<LineResult>; 4] = [
    Column {
        name: "line",
        cell: |it| it.line.to_string(),
    },
    Column {
        name: "licenseKey",
        cell: |it| it.license_key.clone(),
    },
    Column {
        name: "outcome",
        cell: |it| it.outcome.as_str().to_owned(),
    },
    Column {
        name: "error",
        cell: |it| it.error.clone(),
    },
];

/// Whether a file is in a directory for files, and not standard input, another pipe or a device.
fn has_directory(file: &Path) -> bool {
    let is_special = ["/dev", "/proc"].iter().any(|it| file.starts_with(it));
    !is_special && file.is_file()
}

/// Processes lines, one after the other, and shows the progress. Stops if the database cannot be used,
/// or the clock is not trusted: then the number of the line and the reason follow the results.
async fn process_all(
    invocation: &Invocation,
    store: &Store,
    action: BulkAction,
    lines: &[Line],
    is_dry_run: bool,
) -> (Vec<LineResult>, Option<(u64, anyhow::Error)>) {
    let mut results = Vec::with_capacity(lines.len());
    let mut shown_at = SystemClock.running();
    let mut errors = 0;
    for line in lines {
        let processed = one(invocation, store, action, line, is_dry_run).await;
        let result = match processed {
            Ok(result) => result,
            Err(error) => return (results, Some((line.number, error))),
        };
        if result.outcome == Outcome::Failed {
            errors += 1;
            if errors <= MAX_SHOWN_ERRORS {
                say(format_args!("line {}: {}", result.line, result.error));
            }
        }
        results.push(result);
        let now = SystemClock.running();
        if now.saturating_sub(shown_at) >= PROGRESS_INTERVAL {
            shown_at = now;
            let (done, all) = (results.len(), lines.len());
            say(format_args!("{done} of {all} lines, {errors} failed"));
        }
    }
    (results, None)
}

async fn one(
    invocation: &Invocation,
    store: &Store,
    action: BulkAction,
    line: &Line,
    is_dry_run: bool,
) -> anyhow::Result<LineResult> {
    // A long file takes some time.
    let change = invocation
        .permitted_change(store, SystemClock.now())
        .await?;
    let processed: Result<_, StoreError> = process(store, action, line, is_dry_run, &change).await;
    Ok(processed?)
}

/// How many lines have each outcome.
struct Report {
    lines: usize,
    counts: BTreeMap<Outcome, usize>,
}

impl Report {
    fn of(results: &[LineResult], lines: usize) -> Self {
        let mut counts = BTreeMap::new();
        for result in results {
            *counts.entry(result.outcome).or_default() += 1;
        }
        Self { lines, counts }
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.counts.get(&outcome).copied().unwrap_or_default()
    }

    fn print(&self, is_dry_run: bool, result: &Path, json: bool) -> anyhow::Result<()> {
        if json {
            let mut report = json!({"lines": self.lines, "dryRun": is_dry_run});
            for outcome in Outcome::ALL {
                report[outcome.as_str()] = self.count(outcome).into();
            }
            report["result"] = result.display().to_string().into();
            println!("{}", escaped::json(&report)?);
            return Ok(());
        }
        let counts = self.counts.iter();
        let counts = counts.map(|(outcome, count)| format!("{count} {}", words(*outcome)));
        let counts = counts.collect::<Vec<_>>().join(", ");
        let result = result.display();
        let lines = match self.lines {
            1 => "1 line".to_owned(),
            lines => format!("{lines} lines"),
        };
        let dry_run = if is_dry_run {
            "Dry run: nothing was changed. "
        } else {
            ""
        };
        println!("{dry_run}{lines}: {counts}. The result of each line is in '{result}'.");
        Ok(())
    }
}

fn words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::AlreadyDone => "already done",
        outcome => outcome.as_str(),
    }
}
