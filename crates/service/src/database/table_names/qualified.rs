//! Adds the schemas to the names of tables in a statement.

use std::borrow::Cow;

use super::Schemas;

/// The words that a table's name follows in the statements of this program. `UPDATE` also
/// precedes `SET`, and `ON` also columns and conflicts; no table has such a name.
const BEFORE_TABLES: [&str; 9] = [
    "EXISTS",
    "FROM",
    "INTO",
    "JOIN",
    "ON",
    "REFERENCES",
    "TABLE",
    "UPDATE",
    "USING",
];

impl Schemas {
    /// The statement with the schema of each table.
    pub(in crate::database) fn qualified<'a>(&self, sql: &'a str) -> Cow<'a, str> {
        let mut result = String::new();
        let mut copied = 0;
        let mut before = "";
        let mut tokens = Tokens { sql, at: 0 };
        while let Some((start, token)) = tokens.next() {
            let name = token.trim_matches('"');
            let is_table = self.of.contains_key(name)
                && BEFORE_TABLES
                    .iter()
                    .any(|it| it.eq_ignore_ascii_case(before))
                // Not the table of a column.
                && !sql[tokens.at..].starts_with('.');
            if is_table {
                result.push_str(&sql[copied..start]);
                result.push_str(&self.name(name));
                copied = tokens.at;
            }
            before = token;
        }
        match copied {
            0 => Cow::Borrowed(sql),
            copied => Cow::Owned(result + &sql[copied..]),
        }
    }
}

/// The words, quoted names, texts and other characters of a statement.
struct Tokens<'a> {
    sql: &'a str,
    at: usize,
}

impl<'a> Iterator for Tokens<'a> {
    /// Where the token starts, and the token.
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<(usize, &'a str)> {
        let rest = self.sql[self.at..].trim_start();
        let start = self.sql.len() - rest.len();
        let first = rest.chars().next()?;
        let is_of_word = |it: char| it.is_alphanumeric() || it == '_';
        let length = match first {
            // A doubled quote ends one token and starts the next one, which changes nothing here.
            '"' | '\'' => {
                let end = rest[1..].find(first);
                end.map_or(rest.len(), |end| end + 2)
            }
            first if is_of_word(first) => {
                let end = rest.find(|it| !is_of_word(it));
                end.unwrap_or(rest.len())
            }
            other => other.len_utf8(),
        };
        self.at = start + length;
        Some((start, &rest[..length]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn schemas() -> Schemas {
        let schema = |name: &str| Some(name.to_owned());
        Schemas {
            path: vec!["public".to_owned()],
            of: HashMap::from([
                ("seats", schema("public")),
                ("licenses", schema("of \"us\"")),
                ("calls", None),
            ]),
            ..Schemas::default()
        }
    }

    #[test]
    fn tables_get_their_schema_and_nothing_else_does() {
        for (sql, expected) in [
            (
                "SELECT \"seats\".\"id\" FROM \"seats\" WHERE \"seats\".\"id\" = $1",
                "SELECT \"seats\".\"id\" FROM \"public\".\"seats\" WHERE \"seats\".\"id\" = $1",
            ),
            (
                "SELECT 1 FROM seats INNER JOIN \"licenses\" ON \"licenses\".\"id\" = seats.id",
                "SELECT 1 FROM \"public\".\"seats\" INNER JOIN \"of \"\"us\"\"\".\"licenses\" ON \
                 \"licenses\".\"id\" = seats.id",
            ),
            (
                "update seats set seats = seats.seats + 1, a = 'FROM seats'",
                "update \"public\".\"seats\" set seats = seats.seats + 1, a = 'FROM seats'",
            ),
            (
                "INSERT INTO \"seats\" (\"id\") VALUES ($1) ON CONFLICT (\"id\") DO UPDATE SET \
                 \"seats\" = \"excluded\".\"seats\"",
                "INSERT INTO \"public\".\"seats\" (\"id\") VALUES ($1) ON CONFLICT (\"id\") DO \
                 UPDATE SET \"seats\" = \"excluded\".\"seats\"",
            ),
            (
                "CREATE TABLE IF NOT EXISTS \"seats\" (\"seats\" integer)",
                "CREATE TABLE IF NOT EXISTS \"public\".\"seats\" (\"seats\" integer)",
            ),
            (
                "CREATE INDEX \"seats\" ON \"seats\" (\"id\")",
                "CREATE INDEX \"seats\" ON \"public\".\"seats\" (\"id\")",
            ),
            (
                "SELECT \"seats\" FROM \"calls\" AS \"seats\"",
                "SELECT \"seats\" FROM \"calls\" AS \"seats\"",
            ),
            (
                "SELECT 'it''s FROM ', 1 FROM seats",
                "SELECT 'it''s FROM ', 1 FROM \"public\".\"seats\"",
            ),
            ("SELECT 'é' FROM other", "SELECT 'é' FROM other"),
            ("DELETE FROM seats_of_others", "DELETE FROM seats_of_others"),
            ("SELECT '", "SELECT '"),
            ("", ""),
        ] {
            assert_eq!(schemas().qualified(sql), expected);
        }
    }
}
