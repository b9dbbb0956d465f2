//! Removes accidental characters around the values of settings.

/// Quotation marks that enclose a value: the opening and the closing one. Desktops replace straight
/// quotation marks with those of the language.
const QUOTES: [(char, char); 11] = [
    ('"', '"'),
    ('\'', '\''),
    ('\u{201c}', '\u{201d}'),
    ('\u{201e}', '\u{201c}'),
    ('\u{201e}', '\u{201d}'),
    ('\u{201d}', '\u{201d}'),
    ('\u{2018}', '\u{2019}'),
    ('\u{201a}', '\u{2018}'),
    ('\u{201a}', '\u{2019}'),
    ('\u{2019}', '\u{2019}'),
    ('\u{ab}', '\u{bb}'),
];

/// A value without accidental characters around it: Windows ends lines with a carriage return, and
/// pasted text contains invisible characters.
#[must_use]
pub fn trimmed(value: &str) -> &str {
    value.trim_matches(|c: char| {
        // DOS ends files with the character 1A.
        c.is_whitespace()
            || matches!(
                c,
                '\u{1a}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}'
            )
    })
}

/// A trimmed value without the quotation marks that enclose all of it: container engines pass on
/// those of an env file. One pair is removed. An unpaired quotation mark is kept, and so are marks
/// that enclose only parts of the value (`"a" and "b"`).
#[must_use]
pub fn unquoted(value: &str) -> &str {
    let value = trimmed(value);
    let inner = QUOTES.iter().find_map(|(opening, closing)| {
        let inner = value.strip_prefix(*opening)?.strip_suffix(*closing)?;
        (!inner.contains([*opening, *closing])).then_some(inner)
    });
    inner.map_or(value, trimmed)
}

/// Whether a value begins or ends with a quotation mark.
#[must_use]
pub fn has_outer_quote(value: &str) -> bool {
    let is_quote = |c: char| QUOTES.iter().any(|(a, b)| c == *a || c == *b);
    let value = trimmed(value);
    value.starts_with(is_quote) || value.ends_with(is_quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_that_enclose_all_of_a_value_are_removed_one_time() {
        for (value, expected) in [
            ("\"/data\"", "/data"),
            ("'/data'", "/data"),
            (" \"/data\" \r", "/data"),
            ("\" /data\u{200b} \"", "/data"),
            ("\u{201c}/data\u{201d}", "/data"),
            ("\u{201e}/data\u{201c}", "/data"),
            ("\u{201d}/data\u{201d}", "/data"),
            ("\u{2018}/data\u{2019}", "/data"),
            ("\u{ab}/data\u{bb}", "/data"),
            ("\"'/data'\"", "'/data'"),
            ("\"\"", ""),
            ("'it is \"quoted\"'", "it is \"quoted\""),
            // Not a pair, or not one that encloses the whole value.
            ("\"", "\""),
            ("\"/data", "\"/data"),
            ("/data\"", "/data\""),
            ("\"/data'", "\"/data'"),
            ("\u{201d}/data\u{201c}", "\u{201d}/data\u{201c}"),
            ("\"North\" and \"South\"", "\"North\" and \"South\""),
            ("pass\"word", "pass\"word"),
            ("", ""),
        ] {
            assert_eq!(unquoted(value), expected, "{value}");
        }
        for (value, has_one) in [
            ("\"/data", true),
            ("/data\u{2019}", true),
            ("/da\"ta", false),
        ] {
            assert_eq!(has_outer_quote(value), has_one, "{value}");
        }
    }
}
