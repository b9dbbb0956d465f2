//! The usage that a site sends with a heartbeat.
//!
//! The body is that of version 1.0.0, which has a number for cameras, users and storage, also where
//! it is not known, and nothing else. So a header says what is known.

use super::{MAX_KEYS, Resource, Usage};
use crate::feature::FeatureKey;
use crate::protocol::UsageMetrics;

/// Maximum length of the header's value, in bytes. What does not fit stays unknown: proxies refuse
/// long headers.
pub const MAX_HEADER_BYTES: usize = 6 * 1024;

/// The amount of something that is not known.
const UNKNOWN: &str = "?";

impl UsageMetrics {
    /// The body of a heartbeat: 0 where the number is not known.
    #[must_use]
    pub fn of(usage: &Usage) -> Self {
        Self {
            cameras_in_use: usage.cameras.unwrap_or_default(),
            users_active: usage.users.unwrap_or_default(),
            storage_used_gb: usage.storage_gb.unwrap_or_default(),
        }
    }
}

/// The value of the header: `cameras=12,users=?,storage_gb=800,anpr_lanes=4`. Bytes of keys other
/// than letters, digits, `-`, `.` and `_` are percent-encoded.
#[must_use]
pub fn header(usage: &Usage) -> String {
    let resources = Resource::ALL.into_iter().map(|resource| {
        let amount = usage.of(resource).map(|amount| amount.to_string());
        let amount = amount.as_deref().unwrap_or(UNKNOWN);
        format!("{}={amount}", resource.as_str())
    });
    let counts = usage.counts.iter();
    let counts = counts.map(|(key, amount)| format!("{}={amount}", encoded(key)));
    let mut header = String::new();
    for entry in resources.chain(counts) {
        if header.len() + 1 + entry.len() > MAX_HEADER_BYTES {
            continue;
        }
        if !header.is_empty() {
            header.push(',');
        }
        header.push_str(&entry);
    }
    header
}

/// The usage of a site that has sent these numbers and this header. Without a readable header, the
/// numbers count; but a site whose numbers are all 0 does not know its usage, as version 1.0.0 never
/// does.
#[must_use]
pub fn received(numbers: UsageMetrics, header: Option<&str>) -> Usage {
    if let Some(usage) = header.and_then(of_header) {
        return usage;
    }
    if numbers == UsageMetrics::default() {
        return Usage::default();
    }
    Usage {
        cameras: Some(numbers.cameras_in_use),
        users: Some(numbers.users_active),
        storage_gb: Some(numbers.storage_used_gb),
        ..Usage::default()
    }
}

/// The usage in a header; `None` if it is too long or has no entry that can be read. Other entries are
/// ignored.
fn of_header(header: &str) -> Option<Usage> {
    if header.len() > MAX_HEADER_BYTES {
        return None;
    }
    let entries = header.split(',').take(Resource::ALL.len() + MAX_KEYS);
    let entries: Vec<(FeatureKey, Option<u64>)> = entries.filter_map(entry).collect();
    if entries.is_empty() {
        return None;
    }
    let of = |resource: Resource| {
        let mut entries = entries.iter();
        entries.find_map(|(key, amount)| amount.filter(|_| key.as_str() == resource.as_str()))
    };
    let counts = entries.iter();
    let counts = counts.filter_map(|(key, amount)| Some((key.clone(), (*amount)?)));
    Some(Usage {
        cameras: of(Resource::Cameras),
        users: of(Resource::Users),
        storage_gb: of(Resource::StorageGb),
        counts: counts.collect(),
    })
}

fn entry(text: &str) -> Option<(FeatureKey, Option<u64>)> {
    let (key, amount) = text.trim().split_once('=')?;
    let amount = match amount {
        UNKNOWN => None,
        number => Some(number.parse().ok()?),
    };
    Some((FeatureKey::parse(&decoded(key)?).ok()?, amount))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

fn encoded(key: &str) -> String {
    let bytes = key.bytes().map(|byte| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    bytes.collect()
}

/// `None` if it is not what [`encoded`] writes.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match byte {
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                let is_hexadecimal = digits.iter().all(u8::is_ascii_hexdigit);
                let digits = std::str::from_utf8(digits)
                    .ok()
                    .filter(|_| is_hexadecimal)?;
                u8::from_str_radix(digits, 16).ok()?
            }
            byte if is_plain(*byte) => *byte,
            _ => return None,
        });
    }
    String::from_utf8(bytes).ok()
}
