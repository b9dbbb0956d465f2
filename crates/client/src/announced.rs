//! What subscribers are told: one value, and what names it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use license_core::announcement::{Announcement, Envelope};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// What the site may use, as it is told.
#[derive(Clone, Debug)]
pub struct Announced {
    /// Another one whenever something in the announcement is.
    pub id: String,
    /// What the site may use.
    pub announcement: Announcement,
    /// The same as JSON.
    text: String,
}

impl Announced {
    /// Names an announcement.
    #[must_use]
    pub fn new(announcement: Announcement) -> Self {
        let text = json!(announcement).to_string();
        let hash = Sha256::digest(&text);
        Self {
            id: URL_SAFE_NO_PAD.encode(&hash[..15]),
            announcement,
            text,
        }
    }

    /// The announcement on its way, as one JSON object. Thousands may be told
    /// at once, so what is the same for all is written once.
    #[must_use]
    pub fn text(&self, envelope: &Envelope) -> String {
        let mut text = json!(envelope).to_string();
        text.truncate(text.len() - 1);
        text.push(',');
        text.push_str(&self.text[1..]);
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::{DateTime, TimeDelta};
    use license_core::announcement::announce;
    use license_core::evidence::Evidence;
    use license_core::gate::Entitlements;
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
        let announcement = announce(&nothing, &none, &policy, &BTreeSet::new(), now);
        let envelope = Envelope { now, signed: None };
        let text = Announced::new(announcement.clone()).text(&envelope);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["now"], json!(now));
        assert_eq!(value["standing"], "unlicensed");
        let members = value.as_object().unwrap().len();
        assert_eq!(members, 1 + json!(announcement).as_object().unwrap().len());
    }
}
