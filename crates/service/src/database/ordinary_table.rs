//! Finds a table of another program whose rows can be counted without running code of others.

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};

use super::Transaction;
use super::table_names::{Schemas, has_table, set_path};

/// A view, a rule or a row-level security policy may call functions with the rights of this
/// program.
const IS_ORDINARY: &str = "
    SELECT 1 FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass($1)
        AND relkind IN ('r', 'p') AND NOT relrowsecurity AND NOT relhasrules";

impl Transaction {
    /// The name of a table with its schema, where the search path of the site says; `None` if there
    /// is none, or, on PostgreSQL, if another user owns it or it may run code of others. From then
    /// on the search path is empty.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn ordinary_table(&self, table: &'static str) -> Result<Option<String>, DbErr> {
        if self.get_database_backend() != DbBackend::Postgres {
            let found = has_table(self, &Schemas::default(), table).await?;
            return Ok(found.then(|| table.to_owned()));
        }
        let schemas = Schemas::find(self, &[table]).await?;
        set_path(self, "").await?;
        if !schemas.has(table) || schemas.refuse_others().is_err() {
            return Ok(None);
        }
        let name = schemas.name(table);
        let value = [(&*name).into()];
        let ask = Statement::from_sql_and_values(DbBackend::Postgres, IS_ORDINARY, value);
        Ok(self.query_one_raw(ask).await?.map(|_| name))
    }
}
