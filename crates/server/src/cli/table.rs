//! Text tables.

/// Prints columns, each as wide as its widest cell.
pub(super) fn print<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| plain(cell)))
        .collect();
    let mut widths = head.map(|cell| cell.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        println!("{}", padded.join("  ").trim_end());
    };
    line(head);
    for row in &rows {
        line(row.each_ref().map(String::as_str));
    }
}

/// Escapes untrusted text, so that it can neither start a new line nor control the
/// terminal.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        // Characters that change the direction of text have the category Cf. A few marks
        // within words of some scripts have it too, and are also escaped.
        let is_format = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if c.is_control() || is_format {
            plain.extend(c.escape_unicode());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// A limit; -1 means none.
pub(super) fn limit(value: i64) -> String {
    if value < 0 {
        "unlimited".to_owned()
    } else {
        value.to_string()
    }
}

/// A time to the minute, or a word if it is missing.
pub(super) fn time(time: Option<chrono::DateTime<chrono::Utc>>, none: &str) -> String {
    time.map_or_else(
        || none.to_owned(),
        |time| time.format("%Y-%m-%d %H:%M").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn no_text_starts_a_new_line_or_controls_the_terminal() {
        assert_eq!(plain("Gate 4, Århus"), "Gate 4, Århus");
        let hostile = "a\nb\r\u{1b}[2J\u{9b}2J\u{202e}c\0";
        let shown = plain(hostile);
        assert!(shown.chars().all(|c| c.is_ascii_graphic()), "{shown}");
        assert!(shown.starts_with("a\\u{a}b\\u{d}\\u{1b}[2J"), "{shown}");
    }
}
