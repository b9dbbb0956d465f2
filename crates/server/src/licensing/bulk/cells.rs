//! The texts of a line, read as values. Errors name the column.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::licensing::expiry::{end_of, start_of};

/// The texts of a line by column.
pub(super) struct Cells<'a>(pub(super) &'a BTreeMap<&'static str, String>);

impl Cells<'_> {
    /// The text in a column; `None` if it is empty or there is no such column.
    pub(super) fn text(&self, column: &'static str) -> Option<String> {
        self.0.get(column).cloned()
    }

    /// The text in a column that must not be empty.
    pub(super) fn required(&self, column: &'static str) -> Result<String, String> {
        self.text(column)
            .ok_or_else(|| format!("{column} is missing"))
    }

    /// The value in a column.
    pub(super) fn value<T: FromStr<Err: Display>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, String> {
        self.read(column, |text| {
            text.parse()
                .map_err(|error| format!("invalid {column} '{text}': {error}"))
        })
    }

    /// The values in a column, which are separated by semicolons or white space.
    pub(super) fn values<T: FromStr<Err: Display>>(
        &self,
        column: &'static str,
    ) -> Result<Vec<T>, String> {
        let text = self.text(column).unwrap_or_default();
        let texts = text.split(|c: char| c == ';' || c.is_whitespace());
        let texts = texts.filter(|text| !text.is_empty());
        let values = texts.map(|text| {
            text.parse()
                .map_err(|error| format!("invalid {column} '{text}': {error}"))
        });
        values.collect()
    }

    /// A limit: a number, or `unlimited`, which is -1.
    pub(super) fn limit(&self, column: &'static str) -> Result<Option<i64>, String> {
        match self.text(column).as_deref() {
            Some("unlimited") => Ok(Some(-1)),
            _ => self.value(column),
        }
    }

    /// A number, or `default` for the setting of the server.
    pub(super) fn number_or_default(
        &self,
        column: &'static str,
    ) -> Result<Option<Option<u32>>, String> {
        match self.text(column).as_deref() {
            Some("default") => Ok(Some(None)),
            _ => Ok(self.value(column)?.map(Some)),
        }
    }

    /// The beginning of a day, or an exact instant.
    pub(super) fn start(&self, column: &'static str) -> Result<Option<DateTime<Utc>>, String> {
        self.read(column, |text| {
            start_of(text).ok_or_else(|| expected_date(column, text, ""))
        })
    }

    /// The end of a day, or an exact instant.
    pub(super) fn end(&self, column: &'static str) -> Result<Option<DateTime<Utc>>, String> {
        self.read(column, |text| {
            end_of(text).ok_or_else(|| expected_date(column, text, ""))
        })
    }

    /// The same, or this word for none.
    pub(super) fn end_or(
        &self,
        column: &'static str,
        none: &str,
    ) -> Result<Option<Option<DateTime<Utc>>>, String> {
        self.read(column, |text| match end_of(text) {
            Some(end) => Ok(Some(end)),
            None if text == none => Ok(None),
            None => Err(expected_date(column, text, none)),
        })
    }

    /// The beginning of a day, an exact instant, or this word for none.
    pub(super) fn start_or(
        &self,
        column: &'static str,
        none: &str,
    ) -> Result<Option<Option<DateTime<Utc>>>, String> {
        self.read(column, |text| match start_of(text) {
            Some(start) => Ok(Some(start)),
            None if text == none => Ok(None),
            None => Err(expected_date(column, text, none)),
        })
    }

    fn read<T>(
        &self,
        column: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let text = self.0.get(column);
        text.map(|text| read(text)).transpose()
    }
}

fn expected_date(column: &str, text: &str, none: &str) -> String {
    let or = match none {
        "" => String::new(),
        none => format!(", or '{none}'"),
    };
    format!(
        "invalid {column} '{text}': expected a date such as 2030-12-31 or 2030-12-31T12:00:00Z{or}"
    )
}
