//! What subscribers are told: one value, and what names it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use license_core::announcement::{Announcement, Envelope};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// What the site may use, as it is told.
#[derive(Clone, Debug)]
pub struct Announced {
    /// Another one whenever something in the announcement is.
    pub id: String,
    /// What the site may use.
    pub announcement: Announcement,
    members: Map<String, Value>,
}

impl Announced {
    /// Names an announcement.
    #[must_use]
    pub fn new(announcement: Announcement) -> Self {
        let members = members(json!(announcement));
        let hash = Sha256::digest(json!(members).to_string());
        Self {
            id: URL_SAFE_NO_PAD.encode(&hash[..15]),
            announcement,
            members,
        }
    }

    /// The announcement on its way, as JSON.
    #[must_use]
    pub fn text(&self, envelope: &Envelope) -> String {
        let mut all = members(json!(envelope));
        all.extend(self.members.clone());
        json!(all).to_string()
    }
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
