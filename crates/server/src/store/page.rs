//! Which part of a list is read, and in what order.

use chrono::Datelike;
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
