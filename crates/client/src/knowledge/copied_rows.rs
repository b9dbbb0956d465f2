//! The rows of the database in the local copy.
//!
//! Others may have chosen their content. They are therefore stored as a text that contains JSON, so
//! that the rest of the local copy can be read regardless of it.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

use super::evidence_rows::EvidenceRows;

/// The rows; `None` if they cannot be read.
#[derive(Debug)]
pub(super) struct CopiedRows(pub Option<EvidenceRows>);

impl Serialize for CopiedRows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(&self.0).map_err(ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for CopiedRows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrObject)
    }
}

/// Files that were written before have an object instead of the text.
struct TextOrObject;

impl<'de> Visitor<'de> for TextOrObject {
    type Value = CopiedRows;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows, as a text or an object")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<CopiedRows, E> {
        Ok(CopiedRows(serde_json::from_str(text).ok()))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<CopiedRows, A::Error> {
        let rows = EvidenceRows::deserialize(MapAccessDeserializer::new(members))?;
        Ok(CopiedRows(Some(rows)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: &str = r#"{"cached":{"licenseKey":"k","licenseData":{"maxCameras":64,"x":1.50},
        "cachedAt":null,"validUntil":"2026-11-23T21:00:00Z","lastValidatedAt":null,
        "validationError":null,"inGracePeriod":false,"gracePeriodStartedAt":null,
        "gracePeriodExpiresAt":null,"licenseSignature":"x"},"memo":null}"#;

    #[test]
    fn rows_are_read_as_a_text_and_as_an_object() {
        let CopiedRows(object) = serde_json::from_str(OBJECT).unwrap();
        assert_eq!(
            object
                .as_ref()
                .unwrap()
                .cached
                .as_ref()
                .unwrap()
                .license_key,
            "k"
        );
        let text = serde_json::to_string(&CopiedRows(object.clone())).unwrap();
        assert!(text.starts_with('"'), "{text}");
        let CopiedRows(read) = serde_json::from_str(&text).unwrap();
        assert_eq!(read, object);
    }

    #[test]
    fn what_the_text_contains_does_not_matter_to_the_rest() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["", "{", "7", "[]", "{\"cached\":7}", &deep] {
            let copy = serde_json::json!([text, "rest"]).to_string();
            let (CopiedRows(rows), rest): (CopiedRows, String) =
                serde_json::from_str(&copy).unwrap();
            assert!(rows.is_none() && rest == "rest", "{text:.40}");
        }
    }
}
