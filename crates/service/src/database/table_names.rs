//! Names the tables of this program with their schemas, so that PostgreSQL needs no search path.
//!
//! PostgreSQL looks for operators and functions in every schema of the search path, and prefers
//! the one whose argument types match exactly, wherever it is. A user who may create objects in a
//! schema of the path could define `=(varchar, text)`, and every comparison of such a column would
//! run it with the rights of this program. All statements of this program therefore run with an
//! empty search path: PostgreSQL then finds operators and functions only in `pg_catalog`. Where
//! the tables are is looked up once, with the search path that the site has configured. A table
//! that is not named with its schema is not found, so a statement that was forgotten here fails.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

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

/// Lets the rest of the transaction find nothing outside of `pg_catalog`.
pub(super) const EMPTY_PATH: &str = "pg_catalog.set_config('search_path', '', true)";

/// Every name includes its schema: the search path of the site applies here. The first rows are
/// the schemas of the path, in order.
const LOOK_UP: &str = "
    SELECT NULL::pg_catalog.text, s.name::pg_catalog.text
    FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) AS s (name)
    UNION ALL SELECT e.name::pg_catalog.text, n.nspname::pg_catalog.text
    FROM (VALUES TABLES) AS e (name)
    JOIN pg_catalog.pg_class c
        ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(e.name)::pg_catalog.oid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace";

/// The tables of this program, and where they were found.
#[derive(Default)]
pub(super) struct TableNames {
    known: OnceLock<Vec<&'static str>>,
    found: Mutex<Option<Arc<Schemas>>>,
}

/// The schemas of the tables.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    /// The schemas in which the site looks for tables; new tables are created in the first one.
    path: Vec<String>,
    /// The schema of each table.
    of: HashMap<&'static str, Option<String>>,
}

impl TableNames {
    /// Sets the tables. Only the first call counts.
    pub(super) fn expect(&self, tables: Vec<&'static str>) {
        let _ = self.known.set(tables);
    }

    /// Where the tables are. `db` must still have the search path of the site.
    ///
    /// # Errors
    /// If the database returns an error.
    pub(super) async fn find(&self, db: &impl ConnectionTrait) -> Result<Arc<Schemas>, DbErr> {
        if let Some(found) = &*self.lock() {
            return Ok(found.clone());
        }
        let known = self.known.get().map_or(&[][..], Vec::as_slice);
        let found = Arc::new(Schemas::find(db, known).await?);
        // Before the tables are known, there is nothing to remember.
        if !known.is_empty() {
            *self.lock() = Some(found.clone());
        }
        Ok(found)
    }

    /// The next transaction looks the tables up again: one of them was not found where it was.
    pub(super) fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Schemas>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Schemas {
    pub(super) async fn find(
        db: &impl ConnectionTrait,
        tables: &[&'static str],
    ) -> Result<Self, DbErr> {
        // The names are this program's own. Without any, one that no table has.
        let values = match tables {
            [] => "(NULL)".to_owned(),
            tables => {
                let values = tables.iter().map(|table| format!("('{table}')"));
                values.collect::<Vec<_>>().join(", ")
            }
        };
        let look_up = LOOK_UP.replace("TABLES", &values);
        let look_up = Statement::from_string(DbBackend::Postgres, look_up);
        let mut path = Vec::new();
        let mut found = HashMap::new();
        for row in db.query_all_raw(look_up).await? {
            let schema: String = row.try_get_by_index(1)?;
            match row.try_get_by_index::<Option<String>>(0)? {
                Some(table) => _ = found.insert(table, schema),
                None => path.push(schema),
            }
        }
        let of = tables.iter().map(|&table| {
            let schema = found.remove(table);
            (table, schema.or_else(|| path.first().cloned()))
        });
        let of = of.collect();
        Ok(Self { path, of })
    }

    /// The schemas in which the site looks for tables, and those of the tables. Some are repeated.
    pub(super) fn schemas(&self) -> impl Iterator<Item = &str> {
        let of = self.of.values().flatten();
        self.path.iter().chain(of).map(String::as_str)
    }

    /// The name of a table with its schema, quoted.
    pub(super) fn name(&self, table: &str) -> String {
        match self.of.get(table) {
            Some(Some(schema)) => format!("{}.{}", quoted(schema), quoted(table)),
            Some(None) | None => quoted(table),
        }
    }

    /// The statement with the schema of each table.
    pub(super) fn qualified<'a>(&self, sql: &'a str) -> Cow<'a, str> {
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

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
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
