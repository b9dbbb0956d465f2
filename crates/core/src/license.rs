//! Licenses: tier, features, limits, expiry.
//!
//! A license is kept exactly as the License Server sent it, with all fields in order, and
//! read through the methods here. Invalid values are never an error: they count as
//! absent. So do texts of more than [`MAX_MESSAGE_CHARS`], apart from the signature.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::amendment::UpdateRule;
use crate::entitlement::{Entitlement, Granted, SkippedEntitlement};
use crate::feature::{FeatureKey, FeatureKeyError, MAX_FEATURES};
use crate::foreign_text::{self, MAX_MESSAGE_CHARS};
pub use crate::iso_8601::parse_instant;
use crate::usage::Resource;

/// A license object of the cloud protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct License {
    data: Map<String, Value>,
    /// Of `data`, read once: every decision asks for it.
    expiry: Expiry,
}

/// When a license ends, or until when it covers releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The field is null or absent.
    Never,
    /// The field is a time, which is included.
    At(DateTime<Utc>),
    /// The field is something else. An unsigned license with such an `expiresAt` never
    /// expires, which [`License::unreadable`] reports; a signed document with one is rejected.
    Unreadable,
}

/// Maximum number of skipped entries that are listed.
const MAX_SKIPPED: usize = 100;

/// The features that a license lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedFeatures {
    /// Each listed key once.
    pub keys: BTreeSet<FeatureKey>,
    /// Entries that are not feature keys, with the reason, for the log.
    pub skipped: Vec<(String, SkippedFeature)>,
}

/// Why an entry of `enabledFeatures` does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkippedFeature {
    /// The entry is a number, an object or similar.
    #[error("not a string")]
    NotText,
    /// The entry is a string that is not a feature key.
    #[error(transparent)]
    NotAKey(#[from] FeatureKeyError),
    /// The list is too long.
    #[error("exceeds the maximum of {MAX_FEATURES} features")]
    TooMany,
}

/// How often a seat may still move to another machine while the old machine's lease runs, as of the
/// newest lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovesLeft {
    /// The number of moves that are left.
    pub left: u32,
    /// The number of moves that are allowed in each period.
    pub of: u32,
    /// The length of the period in days.
    pub period_days: u32,
}

impl fmt::Display for MovesLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            left,
            of,
            period_days,
        } = self;
        match period_days {
            1 => write!(f, "{left} of {of} per day"),
            days => write!(f, "{left} of {of} per {days} days"),
        }
    }
}

impl License {
    /// Takes the object unchanged.
    #[must_use]
    pub fn new(data: Map<String, Value>) -> Self {
        let expiry = end(data.get("expiresAt"));
        Self { data, expiry }
    }

    /// Every field, in the order of the License Server.
    #[must_use]
    pub fn data(&self) -> &Map<String, Value> {
        &self.data
    }

    /// The license with `signature` set to its signed document, as expected by callers and
    /// the cache.
    #[must_use]
    pub fn with_signature(mut self, signature: &str) -> Self {
        self.data.insert("signature".into(), signature.into());
        self
    }

    /// `licenseKey`, if it is a string.
    #[must_use]
    pub fn license_key(&self) -> Option<&str> {
        self.text("licenseKey")
    }

    /// `tier`: the empty string if absent, `None` if null or invalid, as in the status
    /// endpoint of version 1.0.0.
    #[must_use]
    pub fn tier(&self) -> Option<&str> {
        match self.data.get("tier") {
            None => Some(""),
            Some(_) => self.text("tier"),
        }
    }

    /// `customer`: to whom the license was sold; `None` if it does not say.
    #[must_use]
    pub fn customer(&self) -> Option<&str> {
        self.text("customer").filter(|name| !name.trim().is_empty())
    }

    /// `status`, only for display: [`crate::standing`] decides whether a license is valid.
    #[must_use]
    pub fn status(&self) -> &str {
        self.text("status").unwrap_or("active")
    }

    /// `expiresAt` as written, if it is a string.
    #[must_use]
    pub fn expires_at_text(&self) -> Option<&str> {
        self.text("expiresAt")
    }

    /// `expiresAt` as an instant.
    #[must_use]
    pub fn expiry(&self) -> Expiry {
        self.expiry
    }

    /// The whole days until the license ends, 0 on the last day and after it; `None` if it has no
    /// readable end.
    #[must_use]
    pub fn days_left(&self, now: DateTime<Utc>) -> Option<i64> {
        match self.expiry {
            Expiry::At(end) => Some((end - now).num_days().max(0)),
            Expiry::Never | Expiry::Unreadable => None,
        }
    }

    /// `updatesUntil`: the last instant of the releases of the product that the license covers;
    /// [`Expiry::Never`] if it covers all.
    #[must_use]
    pub fn updates_until(&self) -> Expiry {
        end(self.data.get("updatesUntil"))
    }

    /// `updatesUntil` as written, if it is a string.
    #[must_use]
    pub fn updates_until_text(&self) -> Option<&str> {
        self.text("updatesUntil")
    }

    /// `updates`: what happens with later releases. Anything but `enforce` is a warning.
    #[must_use]
    pub fn update_rule(&self) -> UpdateRule {
        match self.text("updates") {
            Some(rule) if rule == UpdateRule::Enforce.as_str() => UpdateRule::Enforce,
            _ => UpdateRule::Warn,
        }
    }

    /// `maxCameras`; some licenses use a negative number for "unlimited".
    #[must_use]
    pub fn max_cameras(&self) -> Option<i64> {
        self.integer("maxCameras")
    }

    /// `maxUsers`, likewise.
    #[must_use]
    pub fn max_users(&self) -> Option<i64> {
        self.integer("maxUsers")
    }

    /// `maxStorageGb`, likewise.
    #[must_use]
    pub fn max_storage_gb(&self) -> Option<i64> {
        self.integer("maxStorageGb")
    }

    /// The limit in the field for a resource; `None` if there is none: a negative number means
    /// "unlimited".
    #[must_use]
    pub fn listed_limit(&self, resource: Resource) -> Option<u64> {
        let limit = match resource {
            Resource::Cameras => self.max_cameras(),
            Resource::Users => self.max_users(),
            Resource::StorageGb => self.max_storage_gb(),
        };
        limit.and_then(|limit| u64::try_from(limit).ok())
    }

    /// `seats`: how many machines may use the license at a time; `None` if absent. Version
    /// 1.0.0 had no seats.
    #[must_use]
    pub fn seats(&self) -> Option<i64> {
        self.integer("seats")
    }

    /// `movesLeft`, with `moves` and `movesPeriodDays`; `None` if any of them is absent or no such
    /// number: earlier versions of the License Server do not send them.
    #[must_use]
    pub fn moves(&self) -> Option<MovesLeft> {
        let number = |name| u32::try_from(self.integer(name)?).ok();
        Some(MovesLeft {
            left: number("movesLeft")?,
            of: number("moves")?,
            period_days: number("movesPeriodDays")?,
        })
    }

    /// `signature` as sent by the License Server, empty if absent.
    #[must_use]
    pub fn signature(&self) -> &str {
        let signature = self.data.get("signature").and_then(Value::as_str);
        signature.unwrap_or_default()
    }

    /// `enabledFeatures`: duplicates count once. Invalid entries and those beyond
    /// [`MAX_FEATURES`] are skipped; the first hundred skipped entries are listed. A missing
    /// or invalid list counts as empty.
    #[must_use]
    pub fn features(&self) -> ListedFeatures {
        let mut listed = ListedFeatures::default();
        let entries = self.data.get("enabledFeatures").and_then(Value::as_array);
        for entry in entries.into_iter().flatten() {
            let key = entry
                .as_str()
                .ok_or(SkippedFeature::NotText)
                .and_then(|text| FeatureKey::parse(text).map_err(SkippedFeature::from));
            let why = match key {
                Ok(key) if listed.keys.len() < MAX_FEATURES || listed.keys.contains(&key) => {
                    listed.keys.insert(key);
                    continue;
                }
                Ok(_) => SkippedFeature::TooMany,
                Err(why) => why,
            };
            if listed.skipped.len() < MAX_SKIPPED {
                let shown = foreign_text::identifier(&entry.to_string());
                listed.skipped.push((shown, why));
            }
        }
        listed
    }

    /// What the license grants, and when: `entitlements` if there is such a list, and otherwise
    /// `enabledFeatures`.
    #[must_use]
    pub fn granted(&self) -> Granted {
        match self.entitlements() {
            Some(entries) => {
                let entries = entries.map(|(entry, read)| {
                    // A count that cannot be read is no reason to have no limit.
                    read.ok().or_else(|| Entitlement::none_of(entry))
                });
                Granted::of(entries.take(MAX_FEATURES).flatten())
            }
            None => self.features().keys.into(),
        }
    }

    /// The entries of `entitlements`, and how each is read; `None` if there is no such list.
    fn entitlements(
        &self,
    ) -> Option<impl Iterator<Item = (&Value, Result<Entitlement, SkippedEntitlement>)>> {
        let entries = self.data.get("entitlements")?.as_array()?;
        Some(entries.iter().enumerate().map(|(place, entry)| {
            let read = match place < MAX_FEATURES {
                true => Entitlement::of_json(entry),
                false => Err(SkippedEntitlement::TooMany),
            };
            (entry, read)
        }))
    }

    fn text(&self, field: &str) -> Option<&str> {
        let text = self.data.get(field).and_then(Value::as_str);
        text.filter(|text| text.chars().nth(MAX_MESSAGE_CHARS).is_none())
    }

    /// The fields with invalid values, in a fixed order: ends that are not times, limits
    /// that are not numbers, features that are not keys, and what happens with later releases. They count as absent, and are shown
    /// with the license.
    #[must_use]
    pub fn unreadable(&self) -> Vec<&'static str> {
        let limits = ["maxCameras", "maxUsers", "maxStorageGb"];
        let is_odd = |field: &str| self.says(field) && self.integer(field).is_none();
        let mut fields = Vec::new();
        if self.expiry() == Expiry::Unreadable {
            fields.push("expiresAt");
        }
        fields.extend(limits.into_iter().filter(|field| is_odd(field)));
        if self.updates_until() == Expiry::Unreadable {
            fields.push("updatesUntil");
        }
        let rules = [UpdateRule::Warn, UpdateRule::Enforce].map(|rule| Some(rule.as_str()));
        if self.says("updates") && !rules.contains(&self.text("updates")) {
            fields.push("updates");
        }
        let features = self.data.get("enabledFeatures");
        if features.is_some_and(|it| !it.is_null() && !it.is_array())
            || !self.features().skipped.is_empty()
        {
            fields.push("enabledFeatures");
        }
        let entitlements = self.data.get("entitlements");
        let mut entries = self.entitlements().into_iter().flatten();
        if entitlements.is_some_and(|it| !it.is_null() && !it.is_array())
            || entries.any(|(_, read)| read.is_err())
        {
            fields.push("entitlements");
        }
        fields
    }

    /// Whether the value is something other than null.
    fn says(&self, field: &str) -> bool {
        self.data.get(field).is_some_and(|value| !value.is_null())
    }

    /// Whole numbers only; `64.0` counts as whole, and so does the string `64`.
    fn integer(&self, field: &str) -> Option<i64> {
        let value = self.data.get(field)?;
        if let Some(text) = value.as_str() {
            return integer_in(text);
        }
        value.as_i64().or_else(|| {
            let float = value.as_f64()?;
            let whole = float.fract() == 0.0 && float.abs() < 9e15;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "exact because of the bound above"
            )]
            whole.then_some(float as i64)
        })
    }
}

/// The end in a field.
fn end(field: Option<&Value>) -> Expiry {
    match field {
        None | Some(Value::Null) => Expiry::Never,
        Some(value) => value
            .as_str()
            .and_then(parse_instant)
            .map_or(Expiry::Unreadable, Expiry::At),
    }
}

/// A whole number in a string, as accepted by version 1.0.0: surrounding white space, a
/// sign, leading zeros, single underscores between digits, and a fraction of zeros.
fn integer_in(text: &str) -> Option<i64> {
    let text = text.trim();
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = match digits.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|it| it == b'0') => whole,
        Some(_) => return None,
        None => digits,
    };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    if !digits.split('_').all(is_number) {
        return None;
    }
    let sign = if is_negative { "-" } else { "" };
    format!("{sign}{}", digits.replace('_', "")).parse().ok()
}

#[cfg(test)]
mod tests;
