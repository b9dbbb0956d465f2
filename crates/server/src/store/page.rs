//! Which part of a list is read, and in what order.

use chrono::Datelike;
use license_service::cursor::to_text;
use sea_orm::Order;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SortOrder {
    /// The smallest or oldest first.
    Asc,
    /// The greatest or newest first.
    Desc,
}

impl SortOrder {
    /// The other order.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Asc => Self::Desc,
            Self::Desc => Self::Asc,
        }
    }
}

impl From<SortOrder> for Order {
    fn from(order: SortOrder) -> Self {
        match order {
            SortOrder::Asc => Self::Asc,
            SortOrder::Desc => Self::Desc,
        }
    }
}

/// Some of the rows of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Whether there are others after these.
    pub has_more: bool,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            has_more: false,
        }
    }
}

impl<T> Page<T> {
    /// The last row, if there are others after it.
    #[must_use]
    pub fn last_of_more(&self) -> Option<&T> {
        self.rows.last().filter(|_| self.has_more)
    }

    /// The cursor of the next page; `None` on the last page.
    pub fn next_cursor<C: Serialize>(&self, cursor: impl Fn(&T) -> C) -> Option<String> {
        self.last_of_more().map(|last| to_text(&cursor(last)))
    }

    /// The same page with other values.
    #[must_use]
    pub fn map<U>(self, of_row: impl Fn(T) -> U) -> Page<U> {
        Page {
            rows: self.rows.into_iter().map(of_row).collect(),
            has_more: self.has_more,
        }
    }

    /// The same for values that cannot all be read.
    ///
    /// # Errors
    /// The first error.
    pub fn try_map<U, E>(self, of_row: impl Fn(T) -> Result<U, E>) -> Result<Page<U>, E> {
        let rows: Result<_, E> = self.rows.into_iter().map(of_row).collect();
        Ok(Page {
            rows: rows?,
            has_more: self.has_more,
        })
    }
}

/// Maximum number of bytes of all rows of a page, unless a single row has more.
const MAX_PAGE_BYTES: i64 = 2 * 1024 * 1024;

/// The room on a page.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    left: i64,
    is_empty: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            left: MAX_PAGE_BYTES,
            is_empty: true,
        }
    }
}

impl Room {
    /// Whether there is room for one more row with this many bytes. There is for the first one.
    pub fn takes(&mut self, bytes: i64) -> bool {
        self.left = self.left.saturating_sub(bytes);
        std::mem::take(&mut self.is_empty) || self.left >= 0
    }
}

/// Where a page of a list begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageStart<C> {
    /// After this many rows, for numbered pages.
    Offset(u64),
    /// After the row at this position, even if rows were added or removed before it.
    After(C),
}

impl<C> PageStart<C> {
    /// How many rows are skipped.
    #[must_use]
    pub fn offset(&self) -> u64 {
        match self {
            // Databases take no greater number.
            Self::Offset(offset) => (*offset).min(super::MAX_ROWS),
            Self::After(_) => 0,
        }
    }

    /// The position after which the page begins.
    #[must_use]
    pub fn after(&self) -> Option<&C> {
        match self {
            Self::Offset(_) => None,
            Self::After(position) => Some(position),
        }
    }
}

impl<C> Default for PageStart<C> {
    fn default() -> Self {
        Self::Offset(0)
    }
}

/// An instant or a day in a cursor, which may have been altered: one that both engines can store and
/// compare. Cursors contain no other times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Storable<T>(T);

impl<T> Storable<T> {
    /// The position of a row.
    #[must_use]
    pub fn of_row(time: T) -> Self {
        Self(time)
    }
}

impl<T: Copy> Storable<T> {
    /// The instant or the day.
    #[must_use]
    pub fn get(self) -> T {
        self.0
    }
}

impl<'de, T: Datelike + Deserialize<'de>> Deserialize<'de> for Storable<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let time = T::deserialize(from)?;
        match (0..=9999).contains(&time.year()) {
            true => Ok(Self(time)),
            false => Err(D::Error::custom("expected a year from 0 to 9999")),
        }
    }
}

#[cfg(test)]
mod tests {
    use license_service::cursor::from_text;

    use super::*;

    #[test]
    fn the_next_page_begins_after_the_last_row_shown() {
        let page = |rows: &[i32], has_more| Page {
            rows: rows.to_vec(),
            has_more,
        };
        let cursor = page(&[3, 5], true).next_cursor(|row| *row);
        assert_eq!(from_text(&cursor.unwrap()), Ok(5));
        assert_eq!(page(&[3, 5], false).next_cursor(|row| *row), None);
        assert_eq!(page(&[], false).next_cursor(|row| *row), None);
    }
}
