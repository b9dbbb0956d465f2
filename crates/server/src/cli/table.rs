//! Text tables.

use license_console::escaped::escaped;

/// Prints columns, each as wide as its widest cell.
pub(super) fn print<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    print_rows(&head.map(str::to_owned), rows);
}

/// The same for any number of columns.
pub(super) fn print_rows<T: AsRef<[String]>>(head: &[String], rows: &[T]) {
    let escaped_row = |row: &T| row.as_ref().iter().map(|it| escaped(it)).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(escaped_row).collect();
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        println!("{}", padded.join("  ").trim_end());
    };
    line(head);
    for row in &rows {
        line(row);
    }
}

/// A limit; -1 means none.
pub(super) fn limit(value: i64) -> String {
    if value < 0 {
        "unlimited".to_owned()
    } else {
        value.to_string()
    }
}

/// A time to the minute, or a placeholder if it is missing.
pub(super) fn time(time: Option<chrono::DateTime<chrono::Utc>>, none: &str) -> String {
    time.map_or_else(
        || none.to_owned(),
        |time| time.format("%Y-%m-%d %H:%M").to_string(),
    )
}
