//! Checks whether the tables fit the statements of this program, and whether the database user may
//! execute these. After a migration between databases, or a restore in which indexes or permissions
//! failed, everything can be read and no change succeeds.

mod catalog;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use sea_orm::{
    ConnectionTrait as _, DbBackend, DbErr, EntityTrait, IdenStatic, Iterable as _,
    PrimaryKeyToColumn as _, PrimaryKeyTrait as _,
};
use tokio::time::Instant;

use super::failure::{self, Failure};
use super::outage::Outage;
use super::{Database, Purpose};
use crate::clock::ticks;
use catalog::{Catalog, Table};

/// Before the statements that create missing indexes.
const MISSING_UNIQUE: &str = "missing unique indexes (if there is an invalid or different one with \
    the same name, drop it first, with DROP INDEX): ";

/// How often the tables are checked while they fit.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// How long a refused statement counts as a sign that others would be refused. The check of the
/// tables does not find everything, for example types.
const REFUSAL_MAX_AGE: Duration = Duration::from_secs(60);

/// What the statements of this program need of a table.
#[derive(Debug)]
pub struct ExpectedTable {
    name: &'static str,
    /// Columns that are read, or filled by each insert.
    columns: Vec<&'static str>,
    /// The column that the database fills.
    id: Option<&'static str>,
    /// The columns of each unique index or primary key that statements rely on.
    unique: Vec<Vec<&'static str>>,
    /// What the database user must be allowed to do.
    permissions: &'static [&'static str],
}

/// The permissions that are needed for most tables.
const ALL_PERMISSIONS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

impl ExpectedTable {
    /// All columns of an entity, and a unique index or primary key for each of these lists of
    /// columns.
    #[must_use]
    pub fn of<E: EntityTrait>(unique: &[&[E::Column]]) -> Self {
        let names = |columns: &[E::Column]| columns.iter().map(IdenStatic::as_str).collect();
        let id = E::PrimaryKey::iter().next();
        let id = id.filter(|_| E::PrimaryKey::auto_increment());
        Self {
            name: E::default().table_name(),
            columns: E::Column::iter().map(|column| column.as_str()).collect(),
            id: id.map(|id| id.into_column().as_str()),
            unique: unique.iter().map(|columns| names(columns)).collect(),
            permissions: &ALL_PERMISSIONS,
        }
    }

    /// The same for a table whose rows are never changed or deleted.
    #[must_use]
    pub fn append_only(self) -> Self {
        Self {
            permissions: &ALL_PERMISSIONS[..2],
            ..self
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// Whether the tables fit, as far as is known.
pub(super) struct Schema {
    expected: OnceLock<Vec<ExpectedTable>>,
    /// Statements that the database has refused because of its tables, and failed checks.
    unfit: Outage,
    checked: Mutex<Option<Checked>>,
}

/// The result of the last check.
struct Checked {
    at: Instant,
    found: Option<DbErr>,
}

impl Default for Schema {
    fn default() -> Self {
        Self {
            expected: OnceLock::new(),
            unfit: Outage::new("schema"),
            checked: Mutex::default(),
        }
    }
}

impl Schema {
    /// Notes that the database has refused a statement because of its tables. Returns the error
    /// with everything that is wrong with them, if that is known: PostgreSQL does not say which
    /// index is missing.
    pub(super) fn failed(&self, error: DbErr) -> DbErr {
        let found = self.lock().as_ref().and_then(|it| it.found.clone());
        let error = found.unwrap_or(error);
        self.unfit.failed(&error, ticks());
        error
    }

    /// Whether the tables have never been checked, which happens as soon as they are created.
    pub(super) fn is_unseen(&self) -> bool {
        self.expected.get().is_some() && self.lock().is_none()
    }

    fn note(&self, found: Option<DbErr>) -> Result<(), DbErr> {
        let at = ticks();
        let checked = Checked {
            at,
            found: found.clone(),
        };
        let before = self.lock().replace(checked);
        let was_unfit = before.is_some_and(|it| it.found.is_some());
        match found {
            Some(error) => {
                self.unfit.failed(&error, at);
                Err(error)
            }
            None => {
                if was_unfit {
                    self.unfit.is_over(at);
                }
                Ok(())
            }
        }
    }

    fn is_due(&self) -> bool {
        let is_fit = |it: &Checked| it.found.is_none() && !self.unfit.is_going_on();
        !self
            .lock()
            .as_ref()
            .is_some_and(|it| is_fit(it) && ticks() - it.at < CHECK_INTERVAL)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Checked>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database {
    /// Sets what [`Self::check_schema`] expects, and the names of all tables that statements use.
    /// Others are only found in [`Self::begin_reading_others`].
    pub fn expect(&self, tables: Vec<ExpectedTable>, more: &[&'static str]) {
        let names = tables.iter().map(|table| table.name);
        self.0
            .tables
            .expect(names.chain(more.iter().copied()).collect());
        // Only the first call counts.
        let _ = self.0.schema.expected.set(tables);
    }

    /// Sets the names of the indexes that are created with the tables.
    pub fn expect_indexes(&self, indexes: Vec<String>) {
        self.0.tables.expect_indexes(indexes);
    }

    /// Checks whether the tables fit this program. [`Self::check_writable`] repeats this.
    ///
    /// # Errors
    /// [`Failure::Schema`] if they do not, with what is missing; it is logged once. Other errors of
    /// the database.
    pub async fn check_schema(&self) -> Result<(), DbErr> {
        let schema = &self.0.schema;
        let Some(expected) = schema.expected.get() else {
            return Ok(());
        };
        let backend = self.get_database_backend();
        let catalog = match self.catalog(expected).await {
            Ok(catalog) => catalog,
            Err(error) if is_of_catalog(Failure::of(&error)) => {
                tracing::debug!(error = super::words(&error), "cannot check the tables");
                return schema.note(None);
            }
            Err(error) => return Err(error),
        };
        let found = misfits(expected, &catalog, backend);
        schema.note(found.map(|found| failure::unfit(&found)))
    }

    /// The same for a service that is being started, which reports in `/readyz` that the tables do
    /// not fit.
    ///
    /// # Errors
    /// If the database returns another error.
    pub async fn note_schema(&self) -> Result<(), DbErr> {
        match self.check_schema().await {
            Err(error) if Failure::of(&error) == Failure::Schema => Ok(()),
            checked => checked,
        }
    }

    /// Whether the tables fit, as far as is known at `deadline`.
    pub(super) async fn recheck_schema(&self, deadline: Instant) -> Result<(), DbErr> {
        let schema = &self.0.schema;
        if schema.is_due() {
            // Without an answer in time, the last one counts.
            let checked = tokio::time::timeout_at(deadline, self.check_schema()).await;
            checked.unwrap_or(Ok(()))?;
        }
        schema.unfit.check_recent(REFUSAL_MAX_AGE, ticks())
    }

    async fn catalog(&self, expected: &[ExpectedTable]) -> Result<Catalog, DbErr> {
        // Like the check for changes, it does not wait for a turn.
        self.0.tables.forget();
        let reading = self.begin_for(Purpose::Read, Vec::new()).await?;
        let tables = expected.iter().map(|table| {
            let name = reading.names().as_ref().map(|names| names.name(table.name));
            (table.name, name.unwrap_or_default())
        });
        let catalog = catalog::read(&reading, tables).await?;
        reading.rollback().await?;
        Ok(catalog)
    }
}

/// Whether the catalog cannot be read: other databases that resemble PostgreSQL have another one.
fn is_of_catalog(failure: Failure) -> bool {
    matches!(
        failure,
        Failure::Schema | Failure::NoTable | Failure::Unknown
    ) || !failure.is_outage()
}

/// What does not fit, with how to repair it.
fn misfits(expected: &[ExpectedTable], catalog: &Catalog, backend: DbBackend) -> Option<String> {
    let is_postgres = backend == DbBackend::Postgres;
    let mut tables = Vec::new();
    let mut others = Vec::new();
    let mut columns = Vec::new();
    let mut indexes = Vec::new();
    let mut ids = Vec::new();
    let mut unfilled = Vec::new();
    let mut grants = Vec::new();
    for table in expected {
        let name = table.name;
        let Some(found) = catalog.get(name) else {
            tables.push(name.to_owned());
            continue;
        };
        if is_of_another_program(table, found) {
            others.push(name.to_owned());
            continue;
        }
        let denied = table.permissions.iter();
        let denied: Vec<_> = denied
            .filter(|it| found.denied.contains(**it))
            .copied()
            .collect();
        if !denied.is_empty() {
            grants.push(format!("GRANT {} ON {name}", denied.join(", ")));
        }
        let sequences = found.denied_sequences.iter();
        grants.extend(sequences.map(|it| format!("GRANT USAGE ON SEQUENCE {it}")));
        let missing = |column: &&&str| !found.columns.contains_key(**column);
        let missing = table.columns.iter().filter(missing);
        columns.extend(missing.map(|column| format!("{name}.{column}")));
        // An index on a missing column cannot be created.
        let has = |it: &&Vec<&str>| it.iter().all(|it| found.columns.contains_key(*it));
        let unique = table.unique.iter().filter(has);
        let unique = unique.filter(|it| !is_unique(found, it));
        indexes.extend(unique.map(|columns| {
            let (suffix, columns) = (columns.join("_"), columns.join(", "));
            format!("CREATE UNIQUE INDEX {name}_{suffix} ON {name} ({columns})")
        }));
        for (column, must_be_filled) in &found.columns {
            let is_id = table.id == Some(column);
            let is_filled = !is_id && table.columns.contains(&column.as_str());
            if !must_be_filled || is_filled {
                continue;
            }
            match is_id && is_postgres {
                true => ids.push(format!(
                    "ALTER TABLE {name} ALTER COLUMN {column} ADD GENERATED BY DEFAULT AS IDENTITY"
                )),
                false => unfilled.push(format!("{name}.{column}")),
            }
        }
    }
    let parts = [
        ("missing tables: ", tables.join(", ")),
        (
            "tables of another program (use a separate database for this one, or a separate \
             schema with options=-csearch_path=NAME in DATABASE_URL): ",
            others.join(", "),
        ),
        ("missing columns: ", columns.join(", ")),
        (MISSING_UNIQUE, indexes.join("; ")),
        ("ids without a default: ", ids.join("; ")),
        (
            "NOT NULL columns without a default that this program does not fill: ",
            unfilled.join(", "),
        ),
        (
            "permissions that the user in DATABASE_URL does not have: ",
            grants.join("; "),
        ),
    ];
    let parts = parts.iter().filter(|(_, found)| !found.is_empty());
    let parts: Vec<String> = parts
        .map(|(what, found)| format!("{what}{found}"))
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Whether a table lacks most columns: another program's table has the same name.
fn is_of_another_program(expected: &ExpectedTable, found: &Table) -> bool {
    let columns = expected.columns.iter();
    let present = columns.filter(|it| found.columns.contains_key(**it));
    2 * present.count() < expected.columns.len()
}

/// Whether a table has a unique index with exactly these columns, in any order. What a view is made
/// of is not known.
fn is_unique(table: &Table, columns: &[&str]) -> bool {
    let columns: BTreeSet<String> = columns.iter().map(|it| (*it).to_owned()).collect();
    table.is_view || table.unique.contains(&columns)
}
