//! Reads which tables, columns and unique indexes a database has, and what this user may do with
//! them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};

/// The tables, by name.
pub(super) type Catalog = HashMap<String, Table>;

/// A table, or a view with its name.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) is_view: bool,
    /// The columns, and whether each must be filled by an insert: it must not be null, and has no
    /// default.
    pub(super) columns: BTreeMap<String, bool>,
    /// The columns of each unique index that ON CONFLICT can name.
    pub(super) unique: Vec<BTreeSet<String>>,
    /// What the user may not do with the table: `SELECT`, `INSERT`, `UPDATE`, `DELETE`.
    pub(super) denied: BTreeSet<String>,
    /// The sequences of its columns that the user may not use.
    pub(super) denied_sequences: Vec<String>,
}

/// A trigger that runs before each insert, and a rule, may fill any column.
const POSTGRES_COLUMNS: &str = "
    SELECT e.name, CASE WHEN c.relkind IN ('r', 'p') THEN 0 ELSE 1 END::bigint, a.attname::text,
        CASE WHEN a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
            AND t.typdefault IS NULL AND NOT c.relhasrules
            AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger g
                WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgtype & 7 = 7)
        THEN 1 ELSE 0 END::bigint
    FROM (VALUES TABLES) AS e (name, qualified)
    JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(e.qualified)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    WHERE a.attnum > 0 AND NOT a.attisdropped";

/// A deferrable constraint, an index on part of the rows, and one on an expression do not count for
/// ON CONFLICT.
const POSTGRES_UNIQUE: &str = "
    SELECT e.name, (SELECT pg_catalog.string_agg(a.attname::text, ',')
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid
        AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
    FROM (VALUES TABLES) AS e (name, qualified)
    JOIN pg_catalog.pg_index i ON i.indrelid = pg_catalog.to_regclass(e.qualified)
    WHERE i.indisunique AND i.indisvalid AND i.indimmediate
        AND i.indpred IS NULL AND i.indexprs IS NULL";

/// A permission for some columns is enough here: it may be for all that this program uses.
const POSTGRES_DENIED: &str = "
    SELECT e.name, p.name
    FROM (VALUES TABLES) AS e (name, qualified)
    JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(e.qualified)
    CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS p (name)
    WHERE NOT CASE p.name
        WHEN 'DELETE' THEN pg_catalog.has_table_privilege(c.oid, 'DELETE')
        ELSE pg_catalog.has_any_column_privilege(c.oid, p.name)
    END";

/// The sequence of an identity column needs no permission; that of a serial column depends on it
/// automatically.
const POSTGRES_DENIED_SEQUENCES: &str = "
    SELECT e.name, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(s.relname)
    FROM (VALUES TABLES) AS e (name, qualified)
    JOIN pg_catalog.pg_depend d ON d.refobjid = pg_catalog.to_regclass(e.qualified)
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'a'
    JOIN pg_catalog.pg_class s ON s.oid = d.objid
    JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
    WHERE CASE WHEN s.relkind = 'S'
        THEN NOT pg_catalog.has_sequence_privilege(s.oid, 'USAGE') ELSE false END";

/// SQLite itself fills only a column that is the row id (`sqlite.org/lang_createtable.html#rowid`).
const SQLITE_COLUMNS: &str = "
    SELECT lower(m.name), CASE m.type WHEN 'table' THEN 0 ELSE 1 END, lower(p.name),
        CASE WHEN p.\"notnull\" AND p.dflt_value IS NULL
            AND NOT (p.pk = 1 AND upper(p.type) = 'INTEGER'
                AND (SELECT count(*) FROM pragma_table_info(m.name) WHERE pk > 0) = 1)
        THEN 1 ELSE 0 END
    FROM sqlite_master m, pragma_table_info(m.name) p
    WHERE m.type IN ('table', 'view') AND lower(m.name) IN (TABLES)";

const SQLITE_UNIQUE: &str = "
    SELECT lower(m.name), (SELECT group_concat(lower(c.name)) FROM pragma_index_info(i.name) c)
    FROM sqlite_master m, pragma_index_list(m.name) i
    WHERE m.type = 'table' AND lower(m.name) IN (TABLES) AND i.\"unique\" = 1 AND i.partial = 0
        AND NOT EXISTS (SELECT 1 FROM pragma_index_info(i.name) WHERE name IS NULL)
    UNION ALL
    SELECT lower(m.name),
        (SELECT group_concat(lower(name)) FROM pragma_table_info(m.name) WHERE pk > 0)
    FROM sqlite_master m WHERE m.type = 'table' AND lower(m.name) IN (TABLES)";

/// Reads what there is of these tables. Each has its name on PostgreSQL with it, with its schema.
///
/// # Errors
/// If the database returns an error.
pub(super) async fn read(
    db: &impl ConnectionTrait,
    tables: impl Iterator<Item = (&'static str, String)>,
) -> Result<Catalog, DbErr> {
    let backend = db.get_database_backend();
    let is_postgres = backend == DbBackend::Postgres;
    let (columns, unique) = match is_postgres {
        true => (POSTGRES_COLUMNS, POSTGRES_UNIQUE),
        false => (SQLITE_COLUMNS, SQLITE_UNIQUE),
    };
    // The names are this program's own, except for the schemas.
    let names = tables.map(|(name, qualified)| match is_postgres {
        true => format!("('{name}', '{}')", qualified.replace('\'', "''")),
        false => format!("'{name}'"),
    });
    let names = names.collect::<Vec<_>>().join(", ");
    let ask = async |sql: &str| {
        let sql = sql.replace("TABLES", &names);
        db.query_all_raw(Statement::from_string(backend, sql)).await
    };
    let mut catalog = Catalog::new();
    for row in ask(columns).await? {
        let table = catalog.entry(text(&row, 0)?).or_default();
        table.is_view = is_set(&row, 1)?;
        table
            .columns
            .insert(text(&row, 2)?, is_set(&row, 3)? && !table.is_view);
    }
    for row in ask(unique).await? {
        let (table, columns) = (text(&row, 0)?, row.try_get_by_index::<Option<String>>(1)?);
        if let (Some(table), Some(columns)) = (catalog.get_mut(&table), columns) {
            let columns = columns.split(',').map(str::to_owned);
            table.unique.push(columns.collect());
        }
    }
    if is_postgres {
        for row in ask(POSTGRES_DENIED).await? {
            if let Some(table) = catalog.get_mut(&text(&row, 0)?) {
                table.denied.insert(text(&row, 1)?);
            }
        }
        for row in ask(POSTGRES_DENIED_SEQUENCES).await? {
            if let Some(table) = catalog.get_mut(&text(&row, 0)?) {
                table.denied_sequences.push(text(&row, 1)?);
            }
        }
    }
    Ok(catalog)
}

fn text(row: &QueryResult, at: usize) -> Result<String, DbErr> {
    row.try_get_by_index(at)
}

fn is_set(row: &QueryResult, at: usize) -> Result<bool, DbErr> {
    Ok(row.try_get_by_index::<i64>(at)? != 0)
}
