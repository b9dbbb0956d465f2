//! Pages of long tables.

use license_console::number::grouped;

/// Rows on one page.
pub(super) const ROWS: u64 = 50;

/// Where a page is among all.
pub(super) struct Pager {
    /// From 1.
    pub(super) page: u64,
    /// At least 1.
    pub(super) pages: u64,
    /// Rows on all pages, as people read it.
    pub(super) total: String,
    /// What the address says besides the page, with `&` behind it.
    query: String,
}

impl Pager {
    /// `wanted` counts from 1. `query` are the parameters that stay.
    pub(super) fn new(wanted: u64, total: u64, query: &[(&str, &str)]) -> Self {
        let pages = total.div_ceil(ROWS).max(1);
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(query.iter().filter(|(_, value)| !value.is_empty()));
        let mut query = text.finish();
        if !query.is_empty() {
            query.push('&');
        }
        Self {
            page: wanted.clamp(1, pages),
            pages,
            total: grouped(total),
            query,
        }
    }

    /// The first row of a page that is wanted.
    pub(super) fn offset(wanted: u64) -> u64 {
        wanted.clamp(1, u64::from(u32::MAX)).saturating_sub(1) * ROWS
    }

    /// Address of the first page, if it is no neighbour.
    pub(super) fn first(&self) -> Option<String> {
        (self.page > 2).then(|| self.at(1))
    }

    /// Address of the page before.
    pub(super) fn before(&self) -> Option<String> {
        (self.page > 1).then(|| self.at(self.page - 1))
    }

    /// Address of the next page.
    pub(super) fn after(&self) -> Option<String> {
        (self.page < self.pages).then(|| self.at(self.page + 1))
    }

    /// Address of the last page, if it is no neighbour.
    pub(super) fn last(&self) -> Option<String> {
        (self.page + 1 < self.pages).then(|| self.at(self.pages))
    }

    fn at(&self, page: u64) -> String {
        format!("?{}page={page}", self.query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_from_one_and_none_lies_beyond_the_last() {
        let pager = Pager::new(9, 101, &[("search", "a&b"), ("tier", "")]);
        assert_eq!((pager.page, pager.pages), (3, 3));
        let two = "?search=a%26b&page=2".to_owned();
        assert_eq!((pager.before(), pager.after()), (Some(two), None));
        let empty = Pager::new(0, 0, &[]);
        assert_eq!((empty.page, empty.pages), (1, 1));
        assert_eq!((empty.before(), empty.after()), (None, None));
        assert_eq!(Pager::offset(3), 100);
        assert_eq!(Pager::offset(0), 0);
        assert!(Pager::offset(u64::MAX) < u64::MAX);
    }
}
