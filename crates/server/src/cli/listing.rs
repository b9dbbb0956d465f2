//! Lists that commands print whole, however long they are.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::Args;
use license_console::escaped;
use license_service::stderr::say;
use serde::Serialize;

use crate::cli::table;
use crate::licensing::exports::{CsvPieces, Export, Pieces as _};
use crate::store::Store;

/// Default number of rows in a table.
pub(super) const DEFAULT_LIMIT: u64 = 100;

/// The formats for programs, in addition to `--json`.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct CsvFlag {
    /// Print CSV: all rows, with all columns
    #[arg(long)]
    csv: bool,
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Table,
    Json,
    Csv,
}

impl CsvFlag {
    /// The format, with the value of `--json`.
    pub(super) fn format(self, json: bool) -> anyhow::Result<Format> {
        match (json, self.csv) {
            (true, true) => anyhow::bail!("--json and --csv cannot be used together"),
            (true, false) => Ok(Format::Json),
            (false, true) => Ok(Format::Csv),
            (false, false) => Ok(Format::Table),
        }
    }
}

/// A JSON array that is printed one item at a time.
pub(super) struct JsonArray {
    is_empty: bool,
}

impl JsonArray {
    /// Prints its beginning.
    pub(super) fn begin() -> Self {
        print!("[");
        Self { is_empty: true }
    }

    /// Prints an item.
    pub(super) fn push(&mut self, item: &impl Serialize) -> anyhow::Result<()> {
        let comma = if self.is_empty { "" } else { "," };
        print!("{comma}\n{}", escaped::json(item)?);
        self.is_empty = false;
        Ok(())
    }

    /// Prints its end.
    pub(super) fn end(self) {
        println!("{}]", if self.is_empty { "" } else { "\n" });
    }
}

/// Prints a list. In a table, it shows `columns` of the first `limit` rows, and says if there are
/// more.
pub(super) async fn print<E: Export>(
    store: &Store,
    mut export: E,
    format: Format,
    columns: &[&str],
    limit: u64,
) -> anyhow::Result<()> {
    match format {
        Format::Csv => print_csv(store, export).await,
        Format::Json => {
            let mut array = JsonArray::begin();
            loop {
                let rows = export.next(store).await?;
                if rows.is_empty() {
                    break;
                }
                for row in &rows {
                    array.push(row)?;
                }
            }
            array.end();
            Ok(())
        }
        Format::Table => {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let mut rows = Vec::new();
            while rows.len() <= limit {
                let more = export.next(store).await?;
                if more.is_empty() {
                    break;
                }
                rows.extend(more);
            }
            print_table::<E>(&rows, columns, limit);
            Ok(())
        }
    }
}

fn print_table<E: Export>(rows: &[E::Row], columns: &[&str], limit: usize) {
    let name = E::NAME;
    if rows.is_empty() {
        println!("No matching {name}.");
        return;
    }
    let shown: Vec<_> = columns
        .iter()
        .filter_map(|name| E::COLUMNS.iter().find(|column| column.name == *name))
        .collect();
    let head: Vec<String> = shown.iter().map(|it| it.name.to_uppercase()).collect();
    let cells = |row: &E::Row| shown.iter().map(|column| (column.cell)(row)).collect();
    let cells: Vec<Vec<String>> = rows.iter().take(limit).map(cells).collect();
    table::print_rows(&head, &cells);
    if rows.len() > limit {
        say(format_args!(
            "note: there are more {name}; use --json or --csv for all, or a higher --limit"
        ));
    }
}

/// Prints all rows of a list as CSV.
pub(super) async fn print_csv<E: Export>(store: &Store, export: E) -> anyhow::Result<()> {
    let mut pieces = CsvPieces::of(export);
    let mut output = io::stdout().lock();
    while let Some(piece) = pieces.next(store).await? {
        match output.write_all(&piece).and_then(|()| output.flush()) {
            // The reader has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("cannot write to standard output")?,
        }
    }
    Ok(())
}
