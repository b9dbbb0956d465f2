//! Which schemas other database users can create objects in.

use std::collections::BTreeMap;

use license_core::foreign_text;
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};

use super::Database;

/// Maximum number of permissions that are read.
const MAX_PERMISSIONS: u32 = 100;

/// A schema of the search path, or with tables of this program, in which roles other than a trusted
/// owner, superusers and this program's own user may create objects. Statements of this program
/// do not look for operators and functions there, but those of others may: queries from the
/// settings, and commands that people enter.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenSchema {
    schema: String,
    roles: Vec<String>,
    /// Its owner, if that is another user: it can give itself every permission.
    owner: Option<String>,
}

impl OpenSchema {
    /// What is wrong.
    #[must_use]
    pub fn found(&self) -> String {
        let (schema, roles) = (&self.schema, self.roles.join(", "));
        if let Some(owner) = &self.owner {
            let found = format!(
                "another database user owns the schema {schema} ({owner}), and may create objects \
                 in it, such as operators that other users' queries then call"
            );
            return foreign_text::message(&found);
        }
        let found = format!(
            "other database users may create objects in the schema {schema} ({roles}), such as \
             operators that other users' queries then call"
        );
        foreign_text::message(&found)
    }

    /// What to do.
    #[must_use]
    pub fn advice(&self) -> String {
        let (schema, roles) = (&self.schema, self.roles.join(", "));
        if self.owner.is_some() {
            let advice = format!(
                "if you do not trust its owner, remove the schema from the search path, or ALTER \
                 SCHEMA {schema} OWNER TO the user in DATABASE_URL or the owner of the database"
            );
            return foreign_text::message(&advice);
        }
        let advice = format!("REVOKE CREATE ON SCHEMA {schema} FROM {roles}");
        foreign_text::message(&advice)
    }
}

impl Database {
    /// The schemas in which other database users may create objects; none with SQLite.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn open_schemas(&self) -> Result<Vec<OpenSchema>, DbErr> {
        let reading = self.begin_reading().await?;
        let Some(names) = reading.names() else {
            return Ok(Vec::new());
        };
        let schemas: Vec<String> = names.schemas().map(str::to_owned).collect();
        let places: Vec<String> = (1..=schemas.len()).map(|at| format!("${at}")).collect();
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let of_others = names.path_of_others().iter();
        let of_others = of_others.map(|(schema, owner)| OpenSchema {
            schema: schema.clone(),
            roles: Vec::new(),
            owner: Some(owner.clone()),
        });
        let mut found: Vec<OpenSchema> = of_others.collect();
        let ask = format!(
            "SELECT DISTINCT pg_catalog.quote_ident(n.nspname), CASE WHEN a.grantee = 0 \
             THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END \
             FROM pg_catalog.pg_namespace n \
             CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) a \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee \
             WHERE n.nspname IN ({}) AND a.privilege_type = 'CREATE' \
             AND a.grantee <> n.nspowner \
             AND (a.grantee = 0 OR NOT r.rolsuper AND r.rolname <> current_user) \
             ORDER BY 1, 2 LIMIT {MAX_PERMISSIONS}",
            places.join(", ")
        );
        let values = schemas.into_iter().map(Into::into);
        let ask = Statement::from_sql_and_values(DbBackend::Postgres, ask, values);
        let mut open: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in reading.query_all_raw(ask).await? {
            let (schema, role) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            open.entry(schema).or_default().push(role);
        }
        reading.rollback().await?;
        found.extend(open.into_iter().map(|(schema, roles)| OpenSchema {
            schema,
            roles,
            owner: None,
        }));
        Ok(found)
    }
}
