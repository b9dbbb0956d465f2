//! Positions in lists, as opaque texts: where a page ends and the next one begins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The text is not the cursor of a page of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid cursor; expected the nextCursor of another page")]
pub struct InvalidCursor;

/// The text of a position.
#[must_use]
pub fn to_text<T: Serialize>(position: &T) -> String {
    let json = serde_json::to_vec(position).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(json)
}

/// Reads what [`to_text`] has written.
///
/// # Errors
/// If it is something else, or contains a NUL, which no database can store in text.
pub fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, InvalidCursor> {
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
    if json.windows(6).any(|part| part == b"\\u0000") {
        return Err(InvalidCursor);
    }
    serde_json::from_slice(&json).map_err(|_| InvalidCursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_its_text_and_anything_else_is_refused() {
        let position = ("b.c é".to_owned(), 7_u64);
        let text = to_text(&position);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(text.chars().all(is_plain), "{text}");
        assert_eq!(from_text::<(String, u64)>(&text), Ok(position));
        for wrong in [
            String::new(),
            "x".to_owned(),
            format!("{text}="),
            to_text(&7),
            to_text(&("a", -1)),
            to_text(&("a\0", 1)),
        ] {
            assert_eq!(
                from_text::<(String, u64)>(&wrong),
                Err(InvalidCursor),
                "{wrong}"
            );
        }
    }
}
