//! Pages of long tables.

use license_console::number::grouped;

/// Rows per page.
pub(super) const ROWS: u64 = 50;

/// How many more rows than these a page has; `None` if it has no more. Lists that hold much are read in
/// parts, of which only the rows are kept.
pub(super) fn left(rows: usize) -> Option<u64> {
    ROWS.checked_sub(rows as u64).filter(|left| 0 < *left)
}

/// The position of a page.
pub(super) struct Pager {
    /// The page number, from 1.
    pub(super) page: u64,
    /// The number of pages, at least 1.
    pub(super) pages: u64,
    /// The total number of rows, formatted for display.
    pub(super) total: String,
    /// The query parameters other than the page, followed by `&`.
    query: String,
}

impl Pager {
    /// `wanted` counts from 1. `query` has the parameters to keep.
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

    /// The offset of the first row of a page.
    pub(super) fn offset(wanted: u64) -> u64 {
        wanted.clamp(1, u64::from(u32::MAX)).saturating_sub(1) * ROWS
    }

    /// Address of the first page, unless it is adjacent.
    pub(super) fn first(&self) -> Option<String> {
        (self.page > 2).then(|| self.at(1))
    }

    /// Address of the previous page.
    pub(super) fn before(&self) -> Option<String> {
        (self.page > 1).then(|| self.at(self.page - 1))
    }

    /// Address of the next page.
    pub(super) fn after(&self) -> Option<String> {
        (self.page < self.pages).then(|| self.at(self.page + 1))
    }

    /// Address of the last page, unless it is adjacent.
    pub(super) fn last(&self) -> Option<String> {
        (self.page + 1 < self.pages).then(|| self.at(self.pages))
    }

    /// The query parameters, without the page.
    pub(super) fn query(&self) -> &str {
        self.query.trim_end_matches('&')
    }

    fn at(&self, page: u64) -> String {
        format!("?{}page={page}", self.query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_count_from_one_and_end_at_the_last_one() {
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
