//! What subscribers are told: one value, and what names it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// What the site may use, as it is told.
#[derive(Clone, Debug, Default)]
pub struct Announced {
    /// Another one whenever something in the value is; empty before there is
    /// any.
    pub id: String,
    /// `standing`, `tier`, `graceUntil`, `holdsUntil`, `features`, `limits`.
    pub value: Value,
    /// The value as text.
    pub text: String,
}

impl Announced {
    /// Names a value.
    #[must_use]
    pub fn new(value: Value) -> Self {
        let text = value.to_string();
        let hash = Sha256::digest(&text);
        Self {
            id: URL_SAFE_NO_PAD.encode(&hash[..15]),
            value,
            text,
        }
    }
}
