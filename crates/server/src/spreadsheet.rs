//! CSV files, as spreadsheets and other programs read them (RFC 4180): all exports and results are
//! written here.

use std::borrow::Cow;

use csv::{Terminator, WriterBuilder};

/// The content type of an export.
pub const CONTENT_TYPE: &str = "text/csv; charset=utf-8; header=present";

/// The mark by which spreadsheets recognize UTF-8.
pub const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A column of a table with rows of one type.
pub struct Column<T> {
    /// Its name, in the first line.
    pub name: &'static str,
    /// The text of a row in it; empty if there is no value.
    pub cell: fn(&T) -> String,
}

/// The line with the names of the columns.
#[must_use]
pub fn head<T>(columns: &[Column<T>]) -> Vec<u8> {
    line(columns.iter().map(|column| column.name))
}

/// One line for each row.
#[must_use]
pub fn lines<T>(columns: &[Column<T>], rows: &[T]) -> Vec<u8> {
    let lines = rows.iter().map(|row| {
        let cells = columns.iter().map(|column| (column.cell)(row));
        line(cells.collect::<Vec<_>>())
    });
    lines.flatten().collect()
}

/// One line.
#[must_use]
pub fn line<T: AsRef<str>>(cells: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut builder = WriterBuilder::new();
    builder.terminator(Terminator::CRLF).flexible(true);
    let mut writer = builder.from_writer(Vec::new());
    let cells: Vec<String> = cells
        .into_iter()
        .map(|cell| neutral(cell.as_ref()).into_owned())
        .collect();
    // Memory can always be written.
    let written = writer.write_record(&cells).map_err(|_| ());
    written
        .and_then(|()| writer.into_inner().map_err(|_| ()))
        .unwrap_or_default()
}

/// A text that no spreadsheet takes for a formula: an apostrophe precedes one that begins like one.
/// [`original`] removes it.
fn neutral(cell: &str) -> Cow<'_, str> {
    match begins_like_a_formula(cell) {
        true => Cow::Owned(format!("'{cell}")),
        false => Cow::Borrowed(cell),
    }
}

/// The text of a cell without the apostrophe that exports add.
#[must_use]
pub fn original(cell: &str) -> &str {
    let rest = cell.strip_prefix('\'');
    rest.filter(|rest| begins_like_a_formula(rest))
        .unwrap_or(cell)
}

/// The characters with which spreadsheets let formulas begin, also in full width, and the white space
/// that some of them skip.
const BEGINNINGS: [char; 11] = [
    '=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
];

/// Whether a text begins like a formula, after any apostrophes.
fn begins_like_a_formula(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(BEGINNINGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cells: &[&str]) -> String {
        String::from_utf8(line(cells)).unwrap()
    }

    #[test]
    fn no_cell_is_a_formula() {
        for cell in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "\u{ff1d}1",
            "\u{ff20}x",
            "'=1",
        ] {
            let written = text(&[cell, "x"]);
            let first = written.trim_start_matches('"').chars().next();
            assert_eq!(first, Some('\''), "{written:?}");
            assert_eq!(original(&format!("'{cell}")), cell);
        }
        for cell in ["", "x", "'s-Gravenhage", "a=b", " 1", "2027-05-01"] {
            assert_eq!(text(&[cell, "x"]), format!("{cell},x\r\n"), "{cell:?}");
            assert_eq!(original(cell), cell);
        }
    }

    #[test]
    fn cells_are_quoted_where_they_have_to_be() {
        assert_eq!(
            text(&["a,b", "a\"b", "a\nb", ""]),
            "\"a,b\",\"a\"\"b\",\"a\nb\",\r\n"
        );
        assert_eq!(text(&["=a\"b"]), "\"'=a\"\"b\"\r\n");
        // A line of one empty cell is not an empty line.
        assert_eq!(text(&[""]), "\"\"\r\n");
    }

    #[test]
    fn each_row_is_a_line_below_the_names_of_the_columns() {
        let columns = [
            Column {
                name: "number",
                cell: u32::to_string,
            },
            Column {
                name: "half",
                cell: |number| (number / 2).to_string(),
            },
        ];
        let lines = [head(&columns), lines(&columns, &[7, 9])].concat();
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            "number,half\r\n7,3\r\n9,4\r\n"
        );
    }
}
