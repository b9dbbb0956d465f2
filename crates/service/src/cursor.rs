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

/// Removes the extra row of a page of `size` rows that shows that there is another page. Answers
/// whether there is.
pub fn cut<T>(found: &mut Vec<T>, size: u64) -> bool {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let has_more = found.len() > size;
    found.truncate(size);
    has_more
}

/// The same, and returns the cursor of the next page; `None` on the last page.
pub fn next_cursor<T, C: Serialize>(
    found: &mut Vec<T>,
    size: u64,
    cursor: impl Fn(&T) -> C,
) -> Option<String> {
    let has_more = cut(found, size);
    found
        .last()
        .filter(|_| has_more)
        .map(|last| to_text(&cursor(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_begins_after_the_last_row_shown() {
        let mut found = vec![3, 5, 8];
        let cursor = next_cursor(&mut found, 2, |row| *row);
        assert_eq!(found, [3, 5]);
        assert_eq!(from_text(&cursor.unwrap()), Ok(5));
        assert_eq!(next_cursor(&mut found, 2, |row| *row), None);
        assert_eq!(next_cursor(&mut Vec::<i32>::new(), 2, |row| *row), None);
    }

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
