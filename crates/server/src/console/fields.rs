//! The fields of a form, of which some repeat and some are named by what the vendor sells, and how
//! people write numbers and days in them.

use std::collections::BTreeMap;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use license_core::entitlement::Quantity;
use license_core::plan::PlanChoice;
use serde::{Deserialize, Deserializer, de};

use super::filters::unknown;
use crate::http::error::ApiError;
use crate::licensing::expiry::{end_of, start_of};
use crate::licensing::plans::MAX_CATALOGUE_ENTRIES;

/// Maximum number of fields: two for each entry of the largest catalogue, and those of the form.
const MAX_FIELDS: usize = 2 * MAX_CATALOGUE_ENTRIES as usize + 200;

/// Fields in the order in which the browser sent them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(form: D) -> Result<Self, D::Error> {
        let fields = Vec::deserialize(form)?;
        match fields.len() {
            0..=MAX_FIELDS => Ok(Self(fields)),
            more => Err(de::Error::custom(format!(
                "the form has {more} fields; the maximum is {MAX_FIELDS}"
            ))),
        }
    }
}

impl Fields {
    /// The first field with this name as it was typed; empty if it is missing.
    pub(super) fn raw(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The same without white space around it.
    pub(super) fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The text; `None` if it is empty.
    pub(super) fn some(&self, name: &str) -> Option<String> {
        Some(self.text(name))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    }

    /// Whether there is a field with this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// All fields with this name.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let found = self.0.iter().filter(move |(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The fields whose names begin with `prefix`, with the rest of their names.
    pub(super) fn below<'a>(&'a self, prefix: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let fields = self.0.iter();
        fields.filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// All fields.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.0.iter();
        fields.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first field with each name.
    pub(super) fn by_name(&self) -> BTreeMap<&str, &str> {
        // A later one replaces an earlier one.
        let fields = self.0.iter().rev();
        fields.map(|(name, value)| (&**name, &**value)).collect()
    }

    /// Adds a field, also if there is one with this name.
    pub(super) fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// Replaces all fields with this name with one.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.retain(|(known, _)| known != name);
        self.add(name, value);
    }

    /// Without the fields with these names.
    pub(super) fn without(mut self, names: &[&str]) -> Self {
        self.0.retain(|(known, _)| !names.contains(&known.as_str()));
        self
    }
}

fn invalid(name: &str, text: &str, expected: &str) -> ApiError {
    ApiError::BadRequest(format!("invalid {name} '{text}': expected {expected}"))
}

/// A whole number.
///
/// # Errors
/// If it is none.
pub(super) fn number<T: FromStr>(name: &str, text: &str) -> Result<T, ApiError> {
    let number = text.parse();
    number.map_err(|_| invalid(name, text, "a whole number"))
}

/// A plan, with or without a version.
///
/// # Errors
/// If it is none.
pub(super) fn plan(text: &str) -> Result<PlanChoice, ApiError> {
    let plan = text.parse::<PlanChoice>();
    plan.map_err(|error| ApiError::BadRequest(format!("invalid plan '{text}': {error}")))
}

/// A quantity: a number or `unlimited`; `None` for an empty text.
///
/// # Errors
/// If it is neither.
pub(super) fn quantity(name: &str, text: &str) -> Result<Option<Quantity>, ApiError> {
    match text.trim() {
        "" => Ok(None),
        "unlimited" => Ok(Some(Quantity::Unlimited)),
        text => {
            let number = text.parse().map(|number| Some(Quantity::Of(number)));
            number.map_err(|_| invalid(name, text, "a whole number, or 'unlimited'"))
        }
    }
}

/// The beginning of a day, or an instant; `None` for an empty text.
///
/// # Errors
/// If it is neither.
pub(super) fn start(name: &str, text: &str) -> Result<Option<DateTime<Utc>>, ApiError> {
    bound(name, text, start_of)
}

/// The end of a day, or an instant; `None` for an empty text.
///
/// # Errors
/// If it is neither.
pub(super) fn end(name: &str, text: &str) -> Result<Option<DateTime<Utc>>, ApiError> {
    bound(name, text, end_of)
}

fn bound(
    name: &str,
    text: &str,
    read: fn(&str) -> Option<DateTime<Utc>>,
) -> Result<Option<DateTime<Utc>>, ApiError> {
    match text.trim() {
        "" => Ok(None),
        text => match read(text) {
            Some(at) => Ok(Some(at)),
            None => Err(invalid(name, text, "a date such as 2030-12-31")),
        },
    }
}

/// The end that is chosen: `never`, or `day` with a day. `None` means never.
///
/// # Errors
/// If nothing or something unknown is chosen, or the day does not fit the choice.
pub(super) fn never_or_day(choice: &str, day: &str) -> Result<Option<DateTime<Utc>>, ApiError> {
    let day = day.trim();
    match choice {
        "never" => no_day(day).map(|()| None),
        "day" => last_day(day).map(Some),
        other => Err(unknown_end(other, "never or day")),
    }
}

/// The last day where a day is chosen.
///
/// # Errors
/// If it is missing, or no date.
pub(super) fn last_day(day: &str) -> Result<DateTime<Utc>, ApiError> {
    end("last day", day)?.ok_or_else(|| ApiError::BadRequest("enter the last day".to_owned()))
}

/// Checks that no day was entered where another end is chosen.
///
/// # Errors
/// If one was.
pub(super) fn no_day(day: &str) -> Result<(), ApiError> {
    match day.is_empty() {
        true => Ok(()),
        false => Err(ApiError::BadRequest(format!(
            "the last day {day} was entered, but another end is chosen; choose only one"
        ))),
    }
}

/// The error for a choice that is missing or unknown.
pub(super) fn unknown_end(choice: &str, expected: &str) -> ApiError {
    match choice {
        "" => ApiError::BadRequest("choose the end".to_owned()),
        choice => unknown("end", choice, expected),
    }
}
