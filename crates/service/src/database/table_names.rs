//! Names the tables of this program with their schemas, so that PostgreSQL needs no search path.
//!
//! PostgreSQL looks for operators and functions in every schema of the search path, and prefers
//! the one whose argument types match exactly, wherever it is. A user who may create objects in a
//! schema of the path could define `=(varchar, text)`, and every comparison of such a column would
//! run it with the rights of this program. All statements of this program therefore run with an
//! empty search path: PostgreSQL then finds operators and functions only in `pg_catalog`. Where
//! the tables are is looked up once, with the search path that the site has configured. A table
//! that is not named with its schema is not found, so a statement that was forgotten here fails.
//!
//! A table counts only if its owner and that of its schema can be trusted: this program's user, a
//! role that the user is a member of, the owner of the database, a superuser, or an administrator
//! who may create roles, as on managed services, where such a role owns `public`. The owner of a
//! schema can drop each table in it, and create another one with its name. If there are only tables
//! that somebody else owns, or that are or would be in a schema that somebody else owns, no
//! statement is executed.
//!
//! Each transaction compares the [identities](identity) of the tables with those that were found,
//! and looks the tables up again if they differ.

pub(super) mod identity;
mod obstacles;
mod qualified;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use license_core::foreign_text;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::failure;
use super::hidden_schemas::Access;
use super::quoted::quoted;
use identity::{IDENTITY, Identities};

/// Lets the rest of the transaction find nothing outside of `pg_catalog`.
pub(super) const EMPTY_PATH: &str = "pg_catalog.set_config('search_path', '', true)";

/// Every name includes its schema: the search path of the site applies here. Each row has a schema
/// of the path and its place, and the table of this program that is in it, or NULL for the schema
/// itself. The fourth column is the owner, if this program has no reason to trust it, and the last
/// one the table's identity.
const LOOK_UP: &str = "
    SELECT s.place, n.nspname::pg_catalog.text, f.name,
        CASE WHEN o.rolsuper OR o.rolcreaterole OR o.rolname OPERATOR(pg_catalog.=) 'pg_database_owner'
            OR f.owner OPERATOR(pg_catalog.=) d.datdba OR f.owner OPERATOR(pg_catalog.=) me.oid
            OR NOT me.rolsuper AND pg_catalog.pg_has_role(f.owner, 'USAGE')
        THEN NULL ELSE o.rolname::pg_catalog.text END, f.identity
    FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS s (name, place)
    JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) s.name
    CROSS JOIN LATERAL (
        SELECT NULL::pg_catalog.text, n.nspowner, NULL::pg_catalog.text
        UNION ALL SELECT c.relname::pg_catalog.text, c.relowner, IDENTITY
        FROM pg_catalog.pg_class c
        WHERE c.relnamespace OPERATOR(pg_catalog.=) n.oid
            AND c.relname OPERATOR(pg_catalog.=) ANY (ARRAY[TABLES]::pg_catalog.name[])
            AND c.relkind::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'v', 'm', 'f'])
    ) AS f (name, owner, identity)
    JOIN pg_catalog.pg_roles o ON o.oid OPERATOR(pg_catalog.=) f.owner
    JOIN pg_catalog.pg_roles me ON me.rolname OPERATOR(pg_catalog.=) current_user
    JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()";

/// The tables of this program, and where they were found.
#[derive(Default)]
pub(super) struct TableNames {
    known: OnceLock<Vec<&'static str>>,
    indexes: OnceLock<Vec<String>>,
    found: Mutex<Option<Arc<Schemas>>>,
}

/// The schemas of the tables.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    /// The schemas in which the site looks for tables.
    path: Vec<String>,
    /// The schema of each table; of one that does not exist, where it is created.
    of: HashMap<&'static str, Option<String>>,
    /// The tables that exist.
    existing: HashSet<&'static str>,
    /// The tables of which there is only one that another user owns, with its owner, who may give
    /// it triggers and rules, and change its rows.
    of_others: Vec<String>,
    /// The schemas of tables that another user owns, with their owners.
    schemas_of_others: BTreeSet<String>,
    /// The schemas of the path that another user owns, with their owners.
    path_of_others: BTreeMap<String, String>,
    /// The identities of the tables that exist.
    identities: Identities,
    /// Why the missing tables cannot be created.
    not_created: Option<DbErr>,
}

/// A schema of the path, or a table in it.
struct Found {
    place: i64,
    schema: String,
    table: Option<String>,
    untrusted_owner: Option<String>,
    identity: Option<String>,
}

impl TableNames {
    /// Sets the tables. Only the first call counts.
    pub(super) fn expect(&self, tables: Vec<&'static str>) {
        let _ = self.known.set(tables);
    }

    /// Sets the names of the indexes that are created with the tables. Only the first call counts.
    pub(super) fn expect_indexes(&self, indexes: Vec<String>) {
        let _ = self.indexes.set(indexes);
    }

    /// Where the tables are. `db` must still have the search path of the site.
    ///
    /// # Errors
    /// If other database users own some of them, some are in a schema that this user has no access
    /// to, or the database returns an error.
    pub(super) async fn find(&self, db: &impl ConnectionTrait) -> Result<Arc<Schemas>, DbErr> {
        if let Some(found) = &*self.lock() {
            return Ok(found.clone());
        }
        let known = self.known();
        let found = Arc::new(self.find_all(db).await?);
        found.refuse_others()?;
        // Before the tables are known, there is nothing to remember.
        if !known.is_empty() {
            *self.lock() = Some(found.clone());
        }
        Ok(found)
    }

    /// The same without what is remembered, and without refusing what others own.
    ///
    /// # Errors
    /// If some tables are in a schema that this user has no access to, or the database returns an
    /// error.
    pub(super) async fn find_all(&self, db: &impl ConnectionTrait) -> Result<Schemas, DbErr> {
        let tables = self.known();
        let mut schemas = Schemas::find(db, tables).await?;
        if tables.iter().any(|table| !schemas.has(table)) {
            let access = Access::read(db, tables).await?;
            access.refuse_hidden(schemas.existing.len())?;
            let place = schemas.places().first().copied();
            schemas.not_created = access.why_none_is_created(place);
            if schemas.not_created.is_none() {
                let indexes = self.indexes.get().map_or(&[][..], Vec::as_slice);
                schemas.not_created = obstacles::find(db, &schemas, tables, indexes).await?;
            }
        }
        Ok(schemas)
    }

    /// The tables.
    fn known(&self) -> &[&'static str] {
        self.known.get().map_or(&[], Vec::as_slice)
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
    /// Looks tables up. `db` must still have the search path of the site.
    ///
    /// # Errors
    /// If the database returns an error.
    pub(super) async fn find(
        db: &impl ConnectionTrait,
        tables: &[&'static str],
    ) -> Result<Self, DbErr> {
        // The names are this program's own.
        let names: Vec<String> = tables.iter().map(|table| format!("'{table}'")).collect();
        let names = match tables {
            [] => "NULL".to_owned(),
            _ => names.join(", "),
        };
        let look_up = LOOK_UP.replace("TABLES", &names);
        let look_up = look_up.replace("IDENTITY", IDENTITY);
        let look_up = Statement::from_string(DbBackend::Postgres, look_up);
        let mut found = Vec::new();
        for row in db.query_all_raw(look_up).await? {
            found.push(Found {
                place: row.try_get_by_index(0)?,
                schema: row.try_get_by_index(1)?,
                table: row.try_get_by_index(2)?,
                untrusted_owner: row.try_get_by_index(3)?,
                identity: row.try_get_by_index(4)?,
            });
        }
        Ok(Self::of(tables, found))
    }

    /// What is trusted comes before what is not, and then the path decides: otherwise a user who
    /// may create a schema with the name of this program's user could hide the tables.
    fn of(tables: &[&'static str], mut found: Vec<Found>) -> Self {
        let schemas = found.iter().filter(|it| it.table.is_none());
        let owner = |it: &Found| Some((it.schema.clone(), it.untrusted_owner.clone()?));
        let untrusted: BTreeMap<String, String> = schemas.filter_map(owner).collect();
        found.sort_by_key(|it| {
            let is_untrusted = it.untrusted_owner.is_some() || untrusted.contains_key(&it.schema);
            (is_untrusted, it.place)
        });
        let (paths, found): (Vec<_>, Vec<_>) = found.into_iter().partition(|it| it.table.is_none());
        let first = paths.first().map(|it| it.schema.clone());
        let mut schemas = Self::default();
        for &table in tables {
            let of_table = found.iter().find(|it| it.table.as_deref() == Some(table));
            if let Some(it) = of_table {
                schemas.existing.insert(table);
                let owner = it.untrusted_owner.as_ref();
                let of_other = owner.map(|owner| format!("{}.{table} ({owner})", it.schema));
                schemas.of_others.extend(of_other);
                schemas.identities.extend(it.identity.clone());
            }
            let schema = of_table
                .map(|it| it.schema.clone())
                .or_else(|| first.clone());
            let of_other = schema.as_ref().and_then(|it| untrusted.get_key_value(it));
            let of_other = of_other.map(|(schema, owner)| format!("{schema} ({owner})"));
            schemas.schemas_of_others.extend(of_other);
            schemas.of.insert(table, schema);
        }
        schemas.path = paths.into_iter().map(|it| it.schema).collect();
        schemas.path_of_others = untrusted;
        schemas
    }

    /// Whether a table exists.
    pub(super) fn has(&self, table: &str) -> bool {
        self.existing.contains(table)
    }

    /// Refuses tables that other database users own, or could replace.
    ///
    /// # Errors
    /// If there are any, with what to do.
    pub(super) fn refuse_others(&self) -> Result<(), DbErr> {
        let schemas: Vec<_> = self.schemas_of_others.iter().map(String::as_str).collect();
        let shown = foreign_text::message;
        match (self.of_others.is_empty(), schemas.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(failure::schemas_of_others(&shown(&schemas.join(", ")))),
            (false, _) => Err(failure::of_others(&shown(&self.of_others.join(", ")))),
        }
    }

    /// Refuses to create the missing tables without permission, or next to objects that have
    /// their names.
    ///
    /// # Errors
    /// With what to do.
    pub(super) fn refuse_creation(&self) -> Result<(), DbErr> {
        self.not_created.clone().map_or(Ok(()), Err)
    }

    /// The search path for a change to the tables: where they are, or are created.
    pub(super) fn search_path(&self) -> String {
        let path: Vec<String> = self.places().into_iter().map(quoted).collect();
        path.join(", ")
    }

    /// The schemas of the tables that exist, or the first one of the search path.
    fn places(&self) -> Vec<&str> {
        let existing = self.of.iter().filter(|(table, _)| self.has(table));
        let of = existing.filter_map(|(_, schema)| schema.as_deref());
        let mut path: Vec<&str> = of.collect();
        path.sort_unstable();
        path.dedup();
        if path.is_empty() {
            path.extend(self.path.first().map(String::as_str));
        }
        path
    }

    /// The schemas in which the site looks for tables, and those of the tables. Some are repeated.
    pub(super) fn schemas(&self) -> impl Iterator<Item = &str> {
        let of = self.of.values().flatten();
        self.path.iter().chain(of).map(String::as_str)
    }

    /// The schemas in which the site looks for tables and that another user owns, with their
    /// owners.
    pub(super) fn path_of_others(&self) -> &BTreeMap<String, String> {
        &self.path_of_others
    }

    /// The name of a table with its schema, quoted.
    pub(super) fn name(&self, table: &str) -> String {
        match self.of.get(table) {
            Some(Some(schema)) => format!("{}.{}", quoted(schema), quoted(table)),
            Some(None) | None => quoted(table),
        }
    }
}

/// Whether a table exists: on PostgreSQL, as it was looked up.
pub(super) async fn has_table(
    db: &impl ConnectionTrait,
    names: &Schemas,
    table: &str,
) -> Result<bool, DbErr> {
    if db.get_database_backend() == DbBackend::Postgres {
        return Ok(names.has(table));
    }
    let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1";
    let ask = Statement::from_sql_and_values(DbBackend::Sqlite, sql, [table.into()]);
    Ok(db.query_one_raw(ask).await?.is_some())
}

/// Sets the search path for the rest of the transaction on PostgreSQL.
pub(super) async fn set_path(db: &impl ConnectionTrait, path: &str) -> Result<(), DbErr> {
    let set = "SELECT pg_catalog.set_config('search_path', $1, true)";
    let set = Statement::from_sql_and_values(DbBackend::Postgres, set, [path.into()]);
    db.query_one_raw(set).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_a_trusted_owner_counts_wherever_it_is_in_the_path() {
        let row = |place, schema: &str, table: Option<&str>, owner: Option<&str>| Found {
            place,
            schema: schema.to_owned(),
            table: table.map(str::to_owned),
            untrusted_owner: owner.map(str::to_owned),
            identity: table.map(|table| format!("{table} {schema}")),
        };
        let found = vec![
            row(2, "public", Some("seats"), None),
            row(1, "vms", Some("seats"), Some("mallory")),
            row(1, "vms", None, Some("mallory")),
            row(1, "vms", Some("calls"), Some("mallory")),
            row(2, "public", None, None),
        ];
        let schemas = Schemas::of(&["seats", "calls", "licenses"], found);
        assert_eq!(schemas.name("seats"), "\"public\".\"seats\"");
        assert_eq!(schemas.name("licenses"), "\"public\".\"licenses\"");
        let refused = schemas.refuse_others().unwrap_err().to_string();
        assert!(refused.contains("vms.calls (mallory)"), "{refused}");
        assert!(!refused.contains("seats"), "{refused}");
        assert!(schemas.has("calls") && !schemas.has("licenses"));
        assert_eq!(schemas.search_path(), "\"public\", \"vms\"");
        let empty = vec![row(2, "b", None, None), row(1, "a", None, Some("mallory"))];
        let empty = Schemas::of(&["seats"], empty);
        assert_eq!(empty.search_path(), "\"b\"");
        assert_eq!(empty.name("seats"), "\"b\".\"seats\"");
    }
}
