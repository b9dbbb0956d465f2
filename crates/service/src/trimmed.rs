//! Values of settings, without what is not meant to be part of them.

/// A value without what is not meant to be part of it: Windows ends lines with
/// a carriage return, and pasted text brings invisible marks.
#[must_use]
pub fn trimmed(value: &str) -> &str {
    value.trim_matches(|c: char| {
        // DOS ended files with 1A.
        c.is_whitespace()
            || matches!(
                c,
                '\u{1a}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}'
            )
    })
}
