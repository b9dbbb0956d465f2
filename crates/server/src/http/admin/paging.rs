//! What all lists have in common: `limit` and `cursor`.

use serde::de::DeserializeOwned;

use crate::cursor::{InvalidCursor, from_text};
use crate::store::page::PageStart;

/// Maximum number of rows on a page.
const MAX_PAGE_SIZE: u64 = 500;
/// Default number of rows on a page.
const DEFAULT_PAGE_SIZE: u64 = 50;

/// The number of rows on a page.
pub(super) fn page_size(limit: Option<u64>) -> u64 {
    limit.unwrap_or(DEFAULT_PAGE_SIZE).clamp(1, MAX_PAGE_SIZE)
}

/// Where a page begins: after the cursor, which has to be one of this list.
///
/// # Errors
/// [`InvalidCursor`].
pub(super) fn page_start<C: DeserializeOwned>(
    cursor: Option<&str>,
    is_of_list: impl Fn(&C) -> bool,
) -> Result<PageStart<C>, InvalidCursor> {
    let Some(text) = cursor else {
        return Ok(PageStart::default());
    };
    let position = from_text(text)?;
    match is_of_list(&position) {
        true => Ok(PageStart::After(position)),
        false => Err(InvalidCursor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::to_text;

    #[test]
    fn a_page_has_at_least_one_row_and_an_end() {
        let sizes = [None, Some(0), Some(1), Some(500), Some(u64::MAX)].map(page_size);
        assert_eq!(sizes, [50, 1, 1, 500, 500]);
    }

    #[test]
    fn the_cursor_of_another_list_is_refused() {
        let cursor = to_text(&5);
        let start = page_start(Some(&cursor), |row: &i32| *row < 5);
        assert_eq!(start, Err(InvalidCursor));
        assert_eq!(page_start(None, |_: &i32| false), Ok(PageStart::Offset(0)));
    }
}
