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

/// A text that no spreadsheet takes for a formula: an apostrophe precedes what begins like one, also
/// after a separator, at which a spreadsheet may split the cell. [`original`] removes the apostrophes.
fn neutral(cell: &str) -> Cow<'_, str> {
    let mut text = String::new();
    let mut copied = 0;
    for start in starts(cell) {
        if begins_like_a_formula(cell, start) {
            text.push_str(&cell[copied..start]);
            text.push('\'');
            copied = start;
        }
    }
    match copied == 0 && text.is_empty() {
        true => Cow::Borrowed(cell),
        false => Cow::Owned(text + &cell[copied..]),
    }
}

/// The text of a cell without the apostrophes that exports add.
#[must_use]
pub fn original(cell: &str) -> Cow<'_, str> {
    let mut text = String::new();
    let mut copied = 0;
    for start in starts(cell) {
        if cell[start..].starts_with('\'') && begins_like_a_formula(cell, start) {
            text.push_str(&cell[copied..start]);
            copied = start + 1;
        }
    }
    match copied {
        0 => Cow::Borrowed(cell),
        _ => Cow::Owned(text + &cell[copied..]),
    }
}

/// The characters with which spreadsheets let formulas begin, also in full width.
const BEGINNINGS: [char; 8] = [
    '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
];

/// The white space that some spreadsheets skip at the beginning of a cell.
const SKIPPED: [char; 3] = ['\t', '\r', '\n'];

/// The characters at which spreadsheets split lines, whatever the file says.
const SEPARATORS: [char; 5] = [';', ',', '\t', '\r', '\n'];

/// Where a cell begins, and where each part of it does after a separator.
fn starts(cell: &str) -> impl Iterator<Item = usize> {
    let after = |(at, separator): (usize, &str)| at + separator.len();
    std::iter::once(0).chain(cell.match_indices(SEPARATORS).map(after))
}

/// Whether the part of a cell that starts there begins like a formula, after any apostrophes and
/// quotation marks: a spreadsheet that splits the cell may remove the marks.
fn begins_like_a_formula(cell: &str, start: usize) -> bool {
    let rest = cell[start..].trim_start_matches(['\'', '"']);
    rest.starts_with(BEGINNINGS) || (start == 0 && rest.starts_with(SKIPPED))
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
            assert_eq!(original(&neutral(cell)), cell);
        }
        for cell in ["", "x", "'s-Gravenhage", "a=b", " 1", "2027-05-01"] {
            assert_eq!(text(&[cell, "x"]), format!("{cell},x\r\n"), "{cell:?}");
            assert_eq!(original(cell), cell);
        }
    }

    #[test]
    fn no_part_of_a_cell_after_a_separator_is_a_formula() {
        for (cell, expected) in [
            ("Hall 1;=cmd|'/C calc'!A0", "Hall 1;'=cmd|'/C calc'!A0"),
            ("a,+1", "a,'+1"),
            ("a\t@SUM(A1)", "a\t'@SUM(A1)"),
            ("a\r\n-1", "a\r\n'-1"),
            ("a;'=1", "a;''=1"),
            ("Hall 1;\"=cmd|'/C calc'!A0", "Hall 1;'\"=cmd|'/C calc'!A0"),
            ("\"\"+1", "'\"\"+1"),
            ("a,'\"'=1", "a,''\"'=1"),
            ("=1;=2", "'=1;'=2"),
            ("\t=1", "'\t'=1"),
            (";\u{ff1d}1", ";'\u{ff1d}1"),
        ] {
            assert_eq!(neutral(cell), expected);
            assert_eq!(original(expected), cell);
        }
        for cell in [
            "a; b",
            "a,b=c",
            "a\r\nb",
            "x;'s-Gravenhage",
            "é;ü",
            "6;\"x\"",
        ] {
            assert_eq!((&*neutral(cell), &*original(cell)), (cell, cell));
        }
    }

    /// All texts of up to so many of these characters.
    fn texts(alphabet: &[char], max: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut longest = all.clone();
        for _ in 0..max {
            let longer = longest
                .iter()
                .flat_map(|text| alphabet.iter().map(move |c| format!("{text}{c}")));
            longest = longer.collect();
            all.extend(longest.iter().cloned());
        }
        all
    }

    /// The cells that a spreadsheet finds in a file, with this separator and with or without quotation
    /// marks.
    fn cells(file: &[u8], separator: u8, quoting: bool) -> Vec<String> {
        let mut reader = csv::ReaderBuilder::new();
        reader.delimiter(separator).quoting(quoting);
        let mut reader = reader.flexible(true).has_headers(false).from_reader(file);
        let records = reader.records().map(Result::unwrap);
        let cells = records.map(|it| it.iter().map(str::to_owned).collect::<Vec<_>>());
        cells.flatten().collect()
    }

    #[test]
    fn no_cell_of_a_written_line_is_a_formula_however_it_is_read() {
        let short = texts(&['=', '\'', '"', ';', ','], 2);
        let pairs = short
            .iter()
            .flat_map(|first| short.iter().map(move |second| [first, second]));
        let long = texts(&['=', '\'', '"', ';', '\t', '\n'], 4);
        let alone = long.iter().map(|text| [text, text]);
        for row in pairs.chain(alone) {
            let written = line(row);
            for separator in *b",;\t" {
                for quoting in [true, false] {
                    for cell in cells(&written, separator, quoting) {
                        let bare = cell.trim_start_matches('"');
                        assert!(!bare.starts_with(BEGINNINGS), "{row:?} {cell:?}");
                    }
                }
            }
            let read = cells(&written, b',', true);
            let read: Vec<_> = read.iter().map(|cell| original(cell)).collect();
            assert_eq!(read, row.map(String::as_str));
        }
    }

    #[test]
    fn every_cell_is_read_as_it_was_and_has_no_formula() {
        for text in &texts(&['a', '=', '\'', ';', '\n', '\u{ff1d}'], 5) {
            let written = neutral(text);
            assert_eq!(original(&written), text.as_str());
            for part in written.split(SEPARATORS) {
                assert!(!part.starts_with(BEGINNINGS), "{text:?} {written:?}");
            }
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
