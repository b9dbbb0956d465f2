//! What the columns of texts can hold.

/// Whether a text has at most `max` characters, and none that PostgreSQL cannot store.
pub(super) fn fits(text: &str, max: usize) -> bool {
    text.chars().count() <= max && !text.contains('\0')
}
