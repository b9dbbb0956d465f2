//! What all lists have in common: `limit` and `cursor`.

use serde::de::DeserializeOwned;

use crate::http::given::UpTo;
use crate::store::page::PageStart;
use license_service::cursor::{InvalidCursor, from_text};

/// The number of rows on a page: at most 500; 50 by default.
pub(super) type PageSize = UpTo<500, 50>;

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
    use license_service::cursor::to_text;

    #[test]
    fn the_cursor_of_another_list_is_refused() {
        let cursor = to_text(&5);
        let start = page_start(Some(&cursor), |row: &i32| *row < 5);
        assert_eq!(start, Err(InvalidCursor));
        assert_eq!(page_start(None, |_: &i32| false), Ok(PageStart::Offset(0)));
    }
}
