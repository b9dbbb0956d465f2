//! A CSV file, read as lines of named cells.

use std::collections::{BTreeMap, HashMap};

use csv::{ReaderBuilder, StringRecord, Trim};
use license_core::line_id::line_id;

use super::BulkAction;
use super::columns::{AMEND_COLUMNS, ISSUE_COLUMNS, RENEW_COLUMNS};
use crate::licensing::exports::{Export as _, LicensesExport};
use crate::spreadsheet::original;

/// Maximum number of lines of a file, without the first one.
pub const MAX_LINES: usize = 100_000;

/// Why a file cannot be processed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not CSV.
    #[error("the file is not CSV: {0}")]
    Csv(#[from] csv::Error),
    /// It has no lines.
    #[error("the file is empty; expected a first line with the names of the columns")]
    Empty,
    /// It has no other lines.
    #[error("the file has no lines after the header row")]
    NoLines,
    /// It has too many lines.
    #[error("the file has more than {MAX_LINES} lines; split it")]
    TooManyLines,
    /// A column is unknown.
    #[error("line 1: unknown column '{name}'; expected any of {expected}")]
    UnknownColumn {
        /// Its name.
        name: String,
        /// The known columns.
        expected: String,
    },
    /// A column occurs twice.
    #[error("line 1: the column '{0}' occurs twice")]
    Twice(String),
    /// A column is missing.
    #[error("line 1: the column '{0}' is missing")]
    Missing(&'static str),
}

/// The lines of a file.
#[derive(Debug)]
pub struct BulkFile {
    /// The lines below the names of the columns, without empty ones.
    pub lines: Vec<Line>,
    /// Columns of an export of licenses that are not used.
    pub unused: Vec<String>,
}

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Recognizes it when the file is processed again: see [`license_core::line_id`].
    pub id: String,
    /// The texts of the columns that are not empty, or why they cannot be read.
    pub(super) cells: Result<BTreeMap<&'static str, String>, String>,
}

impl Line {
    /// The license key in it.
    #[must_use]
    pub fn license_key(&self) -> Option<&str> {
        let cells = self.cells.as_ref().ok()?;
        cells.get("licenseKey").map(String::as_str)
    }
}

impl BulkFile {
    /// Reads a file for an action. Its cells are separated by commas, semicolons or tabs, as in the
    /// first line. `batch` is what the file is called: the same line of a file that is called
    /// differently is another line.
    ///
    /// # Errors
    /// One [`FileError`] for each reason. What is wrong with a single line is found when it is
    /// processed.
    pub fn parse(text: &str, action: BulkAction, batch: &str) -> Result<Self, FileError> {
        let text = text.trim_start_matches('\u{feff}');
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .delimiter(delimiter(text))
            .from_reader(text.as_bytes());
        let mut records = reader.records();
        let head = records.next().ok_or(FileError::Empty)??;
        let columns = Columns::of(&head, action)?;
        let batch = format!("{} {batch}", action.as_str());
        let mut occurrences: HashMap<String, u64> = HashMap::new();
        let mut lines = Vec::new();
        let mut counter = LineCounter {
            text: text.as_bytes(),
            at: 0,
            number: 1,
        };
        for record in records {
            let record = record?;
            if record.iter().all(str::is_empty) {
                continue;
            }
            if lines.len() == MAX_LINES {
                return Err(FileError::TooManyLines);
            }
            let cells = columns.cells(&record);
            let known = cells.as_ref().map(|cells| {
                let cells = cells.iter().map(|(name, text)| (*name, text.as_str()));
                cells.collect::<Vec<_>>()
            });
            let known = known.unwrap_or_default();
            let first = line_id(&batch, &known, 0);
            let occurrence = occurrences.entry(first).or_default();
            lines.push(Line {
                number: record
                    .position()
                    .map_or(0, |it| counter.number_at(it.byte())),
                id: line_id(&batch, &known, *occurrence),
                cells,
            });
            *occurrence += 1;
        }
        match lines.is_empty() {
            true => Err(FileError::NoLines),
            false => Ok(Self {
                lines,
                unused: columns.unused,
            }),
        }
    }
}

/// Counts the lines of a text up to positions that only grow. A line ends with LF, CR LF, or CR, as
/// older spreadsheets on macOS write; the CSV library counts only LF.
struct LineCounter<'a> {
    text: &'a [u8],
    at: usize,
    /// The number of the line at `at`, from 1.
    number: u64,
}

impl LineCounter<'_> {
    /// The number of the line of the record at this position, which may be before empty lines.
    fn number_at(&mut self, position: u64) -> u64 {
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        while let Some(byte) = self.text.get(self.at) {
            if self.at >= start && !b"\r\n".contains(byte) {
                break;
            }
            self.at += 1;
            let is_inside = *byte == b'\r' && self.text.get(self.at) == Some(&b'\n');
            self.number += u64::from(b"\r\n".contains(byte) && !is_inside);
        }
        self.number
    }
}

/// The separator that occurs most often in the first line.
fn delimiter(text: &str) -> u8 {
    let first = text.split(['\r', '\n']).next().unwrap_or_default();
    let count = |separator: &u8| first.bytes().filter(|byte| byte == separator).count();
    // Of equal numbers, the last one counts.
    b"\t;,".iter().copied().max_by_key(count).unwrap_or(b',')
}

/// The columns of a file.
struct Columns {
    /// The name of each; `None` if it is not used.
    names: Vec<Option<&'static str>>,
    /// The number of columns after them that have no name: spreadsheets write separators for cells
    /// that were once used. They must be empty in all lines.
    unnamed: usize,
    unused: Vec<String>,
}

impl Columns {
    fn of(head: &StringRecord, action: BulkAction) -> Result<Self, FileError> {
        let (known, required): (&[&'static str], _) = match action {
            BulkAction::Issue => (&ISSUE_COLUMNS, "plan"),
            BulkAction::Renew => (&RENEW_COLUMNS, "licenseKey"),
            BulkAction::Amend => (&AMEND_COLUMNS, "licenseKey"),
        };
        let (mut names, mut unused) = (Vec::new(), Vec::new());
        let unnamed = head.iter().rev().take_while(|name| name.is_empty()).count();
        let named = head.len() - unnamed;
        for name in head.iter().take(named) {
            let is_it = |known: &&&'static str| known.eq_ignore_ascii_case(name);
            let found = known.iter().find(is_it).copied();
            // An exported list may be edited and used to renew its licenses.
            let mut exported = LicensesExport::COLUMNS.iter();
            let is_exported = exported.any(|column| column.name == name);
            match found {
                Some(name) if names.contains(&Some(name)) => {
                    return Err(FileError::Twice(name.to_owned()));
                }
                None if action == BulkAction::Renew && is_exported => unused.push(name.to_owned()),
                None => {
                    return Err(FileError::UnknownColumn {
                        name: name.to_owned(),
                        expected: known.join(", "),
                    });
                }
                Some(_) => {}
            }
            names.push(found);
        }
        match names.contains(&Some(required)) {
            true => Ok(Self {
                names,
                unnamed,
                unused,
            }),
            false => Err(FileError::Missing(required)),
        }
    }

    /// The texts of a line that are not empty.
    fn cells(&self, record: &StringRecord) -> Result<BTreeMap<&'static str, String>, String> {
        let (cells, columns) = (record.len(), self.names.len());
        let is_of_columns = (columns..=columns + self.unnamed).contains(&cells)
            && record.iter().skip(columns).all(str::is_empty);
        if !is_of_columns {
            return Err(format!(
                "the number of cells ({cells}) differs from the number of columns in the first \
                 line ({columns}); enclose cells that contain a separator in quotation marks"
            ));
        }
        if record.iter().any(|cell| cell.contains('\0')) {
            return Err("a cell contains a NUL character".to_owned());
        }
        let cells = self.names.iter().zip(record);
        let cells = cells.filter_map(|(name, text)| Some(((*name)?, original(text).into_owned())));
        Ok(cells.filter(|(_, text)| !text.is_empty()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<(u64, Option<String>)> {
        let file = BulkFile::parse(text, BulkAction::Renew, "batch").unwrap();
        let lines = file.lines.into_iter();
        lines.map(|line| (line.number, line.cells.err())).collect()
    }

    #[test]
    fn lines_are_counted_with_every_line_end() {
        for end in ["\n", "\r\n", "\r"] {
            let lines = [
                "licenseKey;reason",
                "a;1",
                "",
                "\"b",
                "c\";2",
                "d;3;;4",
                "e;5",
            ];
            let found = numbers(&lines.join(end));
            let found: Vec<_> = found
                .iter()
                .map(|(number, why)| (*number, why.is_some()))
                .collect();
            let expected = [(2, false), (4, false), (6, true), (7, false)];
            assert_eq!(found, expected, "{end:?}");
        }
    }

    #[test]
    fn columns_without_a_name_at_the_end_must_be_empty() {
        let text = "licenseKey;;\na;;\nb\nc;\nd;;x\ne;;;\n";
        let found: Vec<_> = numbers(text).iter().map(|(_, why)| why.is_some()).collect();
        assert_eq!(found, [false, false, false, true, true]);
        let middle = BulkFile::parse("licenseKey;;note\na;;b\n", BulkAction::Renew, "batch");
        assert!(matches!(middle, Err(FileError::UnknownColumn { .. })));
    }
}
