//! What changed last in a site's license, and when, for people.
//!
//! A change is noticed when a confirmation brings a different license, and when something that the
//! license dates starts or ends. Decisions do not depend on it.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Number, Value};

use crate::foreign_text::{identifier, message};
use crate::license::License;
use crate::replacement::{Difference, ENDS, differences, differences_over_time};
use crate::stored_time;

/// Maximum number of listed differences.
pub const MAX_LISTED: usize = 20;

/// The key of a change of the customer's name.
const CUSTOMER: &str = "customer";

/// Fields of a license that are compared as texts.
const TEXTS: [&str; 3] = [CUSTOMER, "tier", "updatesUntil"];

/// The newest change. Its texts and numbers are bounded and safe to display, even when they were
/// read from a place where others can write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastChange {
    /// When it took effect at the site.
    #[serde(deserialize_with = "stored_time::deserialize")]
    pub at: DateTime<Utc>,
    /// What is different since then: the first [`MAX_LISTED`] in alphabetical order.
    #[serde(deserialize_with = "listed")]
    pub changes: Vec<ChangedItem>,
    /// How many more there are.
    pub more: usize,
}

/// Something that is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangedItem {
    /// A feature, what is counted, `ends` for the end of the license, or `customer`, `tier` or
    /// `updatesUntil`.
    #[serde(deserialize_with = "key")]
    pub key: String,
    /// How it was: true or false for a feature, a whole number of at most 64 bits or `unlimited` for
    /// a limit, otherwise a text of at most
    /// [`MAX_MESSAGE_CHARS`](crate::foreign_text::MAX_MESSAGE_CHARS); null if there was none.
    #[serde(deserialize_with = "value")]
    pub before: Value,
    /// How it has been since then.
    #[serde(deserialize_with = "value")]
    pub after: Value,
}

impl LastChange {
    /// What is different when `other` replaces `present` at `now`; `None` if that is nothing.
    #[must_use]
    pub fn between(present: &License, other: &License, now: DateTime<Utc>) -> Option<Self> {
        let texts = TEXTS.into_iter().filter_map(|field| {
            let [before, after] = [present, other].map(|license| text(license, field));
            let key = field.to_owned();
            (before != after).then_some(ChangedItem { key, before, after })
        });
        let differences = differences(present, other, now).into_iter();
        Self::of(now, differences.map(ChangedItem::from).chain(texts))
    }

    /// What a license started or stopped granting on its own, most recently before or at `now`;
    /// `None` if it has not yet done so.
    #[must_use]
    pub fn on_its_own(license: &License, now: DateTime<Utc>) -> Option<Self> {
        let granted = license.granted();
        let at = granted.last_boundary(now)?;
        let before = at.checked_sub_signed(TimeDelta::nanoseconds(1))?;
        let differences = differences_over_time(license, &granted, [before, at]);
        Self::of(at, differences.into_iter().map(ChangedItem::from))
    }

    /// The same without the names of customers, for callers that may not make changes; `None` if
    /// nothing else has changed.
    #[must_use]
    pub fn without_customer(&self) -> Option<Self> {
        let others = self.changes.iter().filter(|it| it.key != CUSTOMER).cloned();
        let changes: Vec<ChangedItem> = others.collect();
        (!changes.is_empty()).then_some(Self { changes, ..*self })
    }

    fn of(at: DateTime<Utc>, all: impl Iterator<Item = ChangedItem>) -> Option<Self> {
        let mut changes: Vec<ChangedItem> = all.collect();
        changes.sort_by(|one, other| one.key.cmp(&other.key));
        let more = changes.len().saturating_sub(MAX_LISTED);
        changes.truncate(MAX_LISTED);
        (!changes.is_empty()).then_some(Self { at, changes, more })
    }
}

impl From<Difference> for ChangedItem {
    fn from(difference: Difference) -> Self {
        Self {
            key: difference.key,
            before: difference.before.to_json(),
            after: difference.after.to_json(),
        }
    }
}

/// For people, on one line.
impl fmt::Display for ChangedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Value| match value {
            Value::Null => "none".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let (before, after) = (shown(&self.before), shown(&self.after));
        match (self.key.as_str(), &self.after) {
            (key, Value::Bool(true)) => write!(f, "{key} added"),
            (key, Value::Bool(false)) => write!(f, "{key} ended"),
            (ENDS, _) => write!(f, "expires: {after} (before: {before})"),
            (CUSTOMER, _) => write!(f, "licensed to {after} (before: {before})"),
            ("updatesUntil", _) => write!(f, "updates until {after} (before: {before})"),
            (key, _) => write!(f, "{key}: {after} (before: {before})"),
        }
    }
}

fn text(license: &License, field: &str) -> Value {
    let text = license.data().get(field).and_then(Value::as_str);
    let text = text.filter(|text| !text.is_empty());
    text.map_or(Value::Null, |text| message(text).into())
}

fn listed<'de, D: Deserializer<'de>>(stored: D) -> Result<Vec<ChangedItem>, D::Error> {
    let mut changes = Vec::<ChangedItem>::deserialize(stored)?;
    changes.truncate(MAX_LISTED);
    Ok(changes)
}

fn key<'de, D: Deserializer<'de>>(stored: D) -> Result<String, D::Error> {
    String::deserialize(stored).map(|text| identifier(&text))
}

fn value<'de, D: Deserializer<'de>>(stored: D) -> Result<Value, D::Error> {
    Ok(match Value::deserialize(stored)? {
        Value::String(text) => message(&text).into(),
        Value::Bool(is_in_force) => is_in_force.into(),
        Value::Number(number) => number_of(&number),
        Value::Null | Value::Array(_) | Value::Object(_) => Value::Null,
    })
}

/// The number in canonical form, because the stored text may have any number of digits.
fn number_of(number: &Number) -> Value {
    let whole = number.as_u64().map(Value::from);
    let whole = whole.or_else(|| number.as_i64().map(Value::from));
    whole.unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn license(fields: &Value) -> License {
        License::new(fields.as_object().cloned().unwrap())
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn words(change: Option<LastChange>) -> (String, Vec<String>) {
        let change = change.unwrap();
        let changes = change.changes.iter().map(ChangedItem::to_string);
        (change.at.to_rfc3339(), changes.collect())
    }

    #[test]
    fn a_different_license_is_a_change() {
        let now = at("2027-05-03T12:00:00Z");
        let present = license(&json!({
            "customer": "Harbor Ltd", "maxCameras": 64, "enabledFeatures": ["module.map_view"],
            "expiresAt": null,
        }));
        let other = license(&json!({
            "customer": "Harbour Ltd", "maxCameras": 96, "enabledFeatures": ["module.anpr"],
            "expiresAt": "2028-01-01T00:00:00Z", "updatesUntil": "2028-01-01T00:00:00Z",
        }));
        let expected = [
            "cameras: 96 (before: 64)",
            "licensed to Harbour Ltd (before: Harbor Ltd)",
            "expires: 2028-01-01T00:00:00Z (before: never)",
            "module.anpr added",
            "module.map_view ended",
            "updates until 2028-01-01T00:00:00Z (before: none)",
        ];
        let found = words(LastChange::between(&present, &other, now));
        assert_eq!(found.0, "2027-05-03T12:00:00+00:00");
        assert_eq!(found.1, expected);
        assert_eq!(LastChange::between(&present, &present, now), None);
        let shown = LastChange::between(&present, &other, now).unwrap();
        let shown = words(shown.without_customer());
        assert_eq!((shown.1.len(), shown.1.contains(&found.1[1])), (5, false));
    }

    #[test]
    fn starts_and_ends_are_changes_from_their_instant_on() {
        let dated = license(
            &json!({"maxCameras": 0, "enabledFeatures": [], "entitlements": [
                {"key": "cameras", "quantity": 64},
                {"key": "cameras", "quantity": 32, "from": "2027-05-01T00:00:00Z"},
                {"key": "fair", "from": "2027-05-01T00:00:00Z", "until": "2027-07-29T23:59:59Z"},
            ]}),
        );
        let found = |now: &str| LastChange::on_its_own(&dated, at(now));
        assert_eq!(found("2027-04-30T23:59:59Z"), None);
        let started = words(found("2027-05-01T00:00:00Z"));
        assert_eq!(started.0, "2027-05-01T00:00:00+00:00");
        assert_eq!(started.1, ["cameras: 96 (before: 64)", "fair added"]);
        assert_eq!(words(found("2027-07-29T23:59:59Z")), started);
        let ended = words(found("2027-07-30T00:00:00Z"));
        assert_eq!(ended.0, "2027-07-30T00:00:00+00:00");
        assert_eq!(ended.1, ["fair ended"]);
    }

    #[test]
    fn a_stored_change_is_bounded() {
        let none = license(&json!({"enabledFeatures": []}));
        let keys: Vec<String> = (0..50)
            .map(|number| format!("module.x{number:02}"))
            .collect();
        let many = license(&json!({"enabledFeatures": keys}));
        let change = LastChange::between(&none, &many, at("2027-05-01T00:00:00Z")).unwrap();
        assert_eq!((change.changes.len(), change.more), (MAX_LISTED, 30));
        let stored = serde_json::to_string(&change).unwrap();
        assert_eq!(serde_json::from_str::<LastChange>(&stored).unwrap(), change);

        let item = json!({"key": "k\u{202e}".repeat(9_000), "before": {"a": [1]}, "after": "x\n"});
        let forged = json!({"at": "2027-05-01T00:00:00Z", "changes": vec![item; 90], "more": 1});
        let read: LastChange = serde_json::from_value(forged).unwrap();
        assert_eq!(read.changes.len(), MAX_LISTED);
        assert!(read.changes[0].key.chars().count() <= 100);
        assert_eq!(read.changes[0].before, Value::Null);
        let shown = read.changes[0].to_string();
        assert!(!shown.contains(['\n', '\u{202e}']), "{shown}");
    }

    #[test]
    fn a_stored_number_and_a_stored_time_are_bounded() {
        let nines = "9".repeat(100_000);
        for (stored, expected) in [
            (nines.as_str(), Value::Null),
            (&format!("-{nines}"), Value::Null),
            (&format!("0.{nines}"), Value::Null),
            (&format!("1e{nines}"), Value::Null),
            ("1e5", Value::Null),
            ("18446744073709551615", json!(u64::MAX)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("64", json!(64)),
        ] {
            let text = format!(
                r#"{{"at":"-262143-01-01T00:00:00Z","more":0,
                "changes":[{{"key":"cameras","before":{stored},"after":{stored}}}]}}"#
            );
            let read: LastChange = serde_json::from_str(&text).unwrap();
            let item = &read.changes[0];
            assert_eq!([&item.before, &item.after], [&expected; 2]);
            assert_eq!(read.at, at("0001-01-01T00:00:00Z"));
        }
    }
}
