//! Recognizes a table that was replaced by another one with the same name, or given to another
//! owner.
//!
//! The statement that sets up each transaction also reads the identities, so this takes no
//! additional one. VACUUM FULL, CLUSTER and a failover leave them as they are. After a restore or a
//! change of the tables, they differ, and the tables are looked up again.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::Value;

use super::Schemas;

/// The identity of the table `c` in the schema `n`.
pub(super) const IDENTITY: &str = "pg_catalog.concat_ws(' ', c.relname, c.oid, c.relowner, \
    c.relkind, n.oid, n.nspowner)";

/// The identities of tables.
pub(super) type Identities = BTreeSet<String>;

/// Asks for the identities, as an expression with parameters. The search path of the site applies.
pub(in crate::database) struct AskIdentities {
    pub expression: String,
    pub values: Vec<Value>,
}

impl Schemas {
    /// Asks for the identities of what now has the names of the tables, including those that did
    /// not exist.
    pub(in crate::database) fn ask_identities(&self) -> AskIdentities {
        let mut tables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (table, schema) in &self.of {
            if let Some(schema) = schema {
                tables.entry(schema).or_default().push(table);
            }
        }
        let mut values = Vec::new();
        let mut places = vec!["false".to_owned()];
        for (schema, mut names) in tables {
            names.sort_unstable();
            values.push(schema.into());
            places.push(format!(
                "n.nspname OPERATOR(pg_catalog.=) ${}::pg_catalog.name AND c.relname \
                 OPERATOR(pg_catalog.=) ANY (ARRAY['{}']::pg_catalog.name[])",
                values.len(),
                names.join("', '")
            ));
        }
        let expression = format!(
            "(SELECT pg_catalog.string_agg({IDENTITY}, ',') FROM pg_catalog.pg_namespace n \
             JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid \
             WHERE c.relkind::pg_catalog.text OPERATOR(pg_catalog.=) \
             ANY (ARRAY['r', 'p', 'v', 'm', 'f']) AND ({}))",
            places.join(" OR ")
        );
        AskIdentities { expression, values }
    }

    /// Whether the answer names exactly the tables that were found.
    pub(in crate::database) fn are_same(&self, answer: Option<&str>) -> bool {
        let found = answer.into_iter().flat_map(|it| it.split(','));
        found.collect::<BTreeSet<_>>() == self.identities.iter().map(String::as_str).collect()
    }
}
