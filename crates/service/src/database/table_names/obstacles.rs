//! Objects that have the name of a table or an index that is to be created.
//!
//! A user who may create objects in the schema could keep the tables from being created, or, if
//! existing names were skipped, let them be created without their unique indexes.

use license_core::foreign_text;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::Schemas;
use crate::database::failure;

/// Each object that is neither a table of this program nor an index of one: its schema, name, kind
/// and owner. A type has the name of a table as well.
const LOOK_UP: &str = "
    SELECT pg_catalog.quote_ident(n.nspname), pg_catalog.quote_ident(f.name), f.kind,
        o.rolname::pg_catalog.text
    FROM pg_catalog.pg_namespace n
    CROSS JOIN LATERAL (
        SELECT c.relname::pg_catalog.text, c.relkind::pg_catalog.text, c.relowner
        FROM pg_catalog.pg_class c
        LEFT JOIN pg_catalog.pg_index i ON i.indexrelid OPERATOR(pg_catalog.=) c.oid
        LEFT JOIN pg_catalog.pg_class t ON t.oid OPERATOR(pg_catalog.=) i.indrelid
        WHERE c.relnamespace OPERATOR(pg_catalog.=) n.oid AND (
            c.relname OPERATOR(pg_catalog.=) ANY (ARRAY[TABLES]::pg_catalog.name[])
            AND NOT c.relkind::pg_catalog.text OPERATOR(pg_catalog.=)
                ANY (ARRAY['r', 'p', 'v', 'm', 'f'])
            OR c.relname OPERATOR(pg_catalog.=) ANY (ARRAY[INDEXES]::pg_catalog.name[])
            AND (t.relname IS NULL OR NOT t.relname OPERATOR(pg_catalog.=)
                ANY (ARRAY[TABLES]::pg_catalog.name[])))
        UNION ALL
        SELECT t.typname::pg_catalog.text,
            CASE WHEN t.typtype::pg_catalog.text OPERATOR(pg_catalog.=) 'd'
                THEN 'domain' ELSE 'type' END,
            t.typowner
        FROM pg_catalog.pg_type t
        WHERE t.typnamespace OPERATOR(pg_catalog.=) n.oid
            AND t.typname OPERATOR(pg_catalog.=) ANY (ARRAY[TABLES]::pg_catalog.name[])
            AND t.typrelid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
    ) AS f (name, kind, owner)
    JOIN pg_catalog.pg_roles o ON o.oid OPERATOR(pg_catalog.=) f.owner
    WHERE n.nspname OPERATOR(pg_catalog.=) ANY (ARRAY[SCHEMAS]::pg_catalog.name[])
    ORDER BY f.name USING OPERATOR(pg_catalog.<) LIMIT 20";

/// Why the missing tables cannot be created with their indexes; `None` if nothing has their names.
/// `db` must still have the search path of the site.
///
/// # Errors
/// If the database returns an error.
pub(super) async fn find(
    db: &impl ConnectionTrait,
    schemas: &Schemas,
    tables: &[&'static str],
    indexes: &[String],
) -> Result<Option<DbErr>, DbErr> {
    let missing = tables.iter().filter(|table| !schemas.has(table));
    let created_in = missing.filter_map(|table| schemas.of.get(table)?.as_deref());
    let mut places: Vec<&str> = created_in.chain(schemas.places()).collect();
    places.sort_unstable();
    places.dedup();
    if places.is_empty() {
        return Ok(None);
    }
    let parameters: Vec<String> = (1..=places.len()).map(|at| format!("${at}")).collect();
    // The names are this program's own.
    let names = |names: Vec<&str>| match names.is_empty() {
        true => "NULL".to_owned(),
        false => format!("'{}'", names.join("', '")),
    };
    let look_up = LOOK_UP
        .replace("TABLES", &names(tables.to_vec()))
        .replace(
            "INDEXES",
            &names(indexes.iter().map(String::as_str).collect()),
        )
        .replace("SCHEMAS", &parameters.join(", "));
    let values = places.into_iter().map(Into::into);
    let look_up = Statement::from_sql_and_values(DbBackend::Postgres, look_up, values);
    let mut found = Vec::new();
    for row in db.query_all_raw(look_up).await? {
        let (schema, name): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let (kind, owner): (String, String) = (row.try_get_by_index(2)?, row.try_get_by_index(3)?);
        let kind = words(&kind);
        let drop = kind.trim_start_matches("composite ").to_uppercase();
        found.push(format!(
            "{schema}.{name} is a {kind} of {owner} (DROP {drop} {schema}.{name})"
        ));
    }
    let found = (!found.is_empty()).then(|| foreign_text::message(&found.join(", ")));
    Ok(found.map(|found| failure::obstructed(&found)))
}

/// A kind of relation (PostgreSQL's manual, `pg_class`), as in DROP.
fn words(kind: &str) -> &str {
    match kind {
        "r" | "p" => "table",
        "v" => "view",
        "m" => "materialized view",
        "f" => "foreign table",
        "S" => "sequence",
        "i" | "I" => "index",
        "c" => "composite type",
        other => other,
    }
}
