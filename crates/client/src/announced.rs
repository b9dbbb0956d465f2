//! The state sent to subscribers: one value and its id.

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use license_core::announcement::{Announcement, Envelope};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// What the site may use, as sent to subscribers.
#[derive(Clone, Debug)]
pub struct Announced {
    /// Changes whenever the announcement changes.
    pub id: String,
    /// What the site may use.
    pub announcement: Announcement,
    /// The announcement as JSON without its first character, followed by the end of an event.
    rest: Bytes,
}

impl Announced {
    /// Names an announcement.
    #[must_use]
    pub fn new(announcement: Announcement) -> Self {
        let text = json!(announcement).to_string();
        let hash = Sha256::digest(&text);
        let id = URL_SAFE_NO_PAD.encode(&hash[..15]);
        Self {
            id,
            announcement,
            rest: format!("{}\n\n", &text[1..]).into(),
        }
    }

    /// The announcement on its way, as one JSON object that ends with an event, in two parts.
    /// Thousands may be notified together, so the shared part is serialized and stored only once.
    #[must_use]
    pub fn parts(&self, envelope: &Envelope) -> (String, Bytes) {
        let mut begin = json!(envelope).to_string();
        begin.truncate(begin.len() - 1);
        begin.push(',');
        (begin, self.rest.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::{DateTime, TimeDelta};
    use license_core::announcement::announce;
    use license_core::evidence::Evidence;
    use license_core::gate::Entitlements;
    use license_core::plausible_time::PlausibleTime;
    use license_core::standing::Policy;
    use serde_json::Value;

    use super::*;

    #[test]
    fn both_are_one_object() {
        let now = DateTime::UNIX_EPOCH;
        let policy = Policy {
            grace: TimeDelta::hours(72),
            allow_unlicensed_core: true,
        };
        let (nothing, none) = (Evidence::default(), Entitlements::default());
        let announcement = announce(
            &nothing,
            &none,
            &policy,
            &BTreeSet::new(),
            PlausibleTime::exact(now),
        );
        let envelope = Envelope { now, signed: None };
        let (begin, rest) = Announced::new(announcement.clone()).parts(&envelope);
        let text = begin + std::str::from_utf8(&rest).unwrap();
        let text = text.strip_suffix("\n\n").unwrap();
        assert!(!text.contains('\n'), "an event has one line of data");
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(value["now"], json!(now));
        assert_eq!(value["standing"], "unlicensed");
        let members = value.as_object().unwrap().len();
        assert_eq!(members, 1 + json!(announcement).as_object().unwrap().len());
    }
}
