//! Names as a search compares them, the same on every engine and in every locale.

use license_core::folded_text::folded;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::prelude::*;

use super::{add_column, rows_of};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, name, added) in [
            ("licenses", "customer", "customer_folded"),
            ("seats", "installation_name", "installation_name_folded"),
        ] {
            let column = ColumnDef::new(added).text().not_null().default("").take();
            add_column(manager, table, column).await?;
            let rows = rows_of(manager, &[table]).await?;
            fold_names(&rows, table, name, added).await?;
        }
        Ok(())
    }
}

/// Folds the names in a table, in batches of rows.
async fn fold_names(
    db: &impl ConnectionTrait,
    table: &'static str,
    name: &'static str,
    added: &'static str,
) -> Result<(), DbErr> {
    const ROWS_AT_A_TIME: u64 = 1000;
    let mut after: Option<Value> = None;
    loop {
        let mut select = Query::select();
        select
            .columns(["id", name])
            .from(table)
            .limit(ROWS_AT_A_TIME);
        select.order_by("id", Order::Asc);
        if let Some(after) = after {
            select.and_where(Expr::col("id").gt(after));
        }
        let rows = db.query_all(&select).await?;
        let mut values = Vec::new();
        let mut last = None;
        for row in &rows {
            let id: Value = match table {
                "licenses" => row.try_get::<String>("", "id")?.into(),
                _ => row.try_get::<i64>("", "id")?.into(),
            };
            last = Some(id.clone());
            values.extend([id, folded(&row.try_get::<String>("", name)?).into()]);
        }
        let Some(last) = last else {
            return Ok(());
        };
        let backend = db.get_database_backend();
        let places = (1..=rows.len()).map(|row| match backend {
            DbBackend::Postgres => format!("(${}, ${})", 2 * row - 1, 2 * row),
            _ => "(?, ?)".to_owned(),
        });
        let places = places.collect::<Vec<_>>().join(", ");
        // Both engines give the columns of VALUES these names.
        let update = format!(
            "UPDATE {table} SET {added} = v.column2 FROM (VALUES {places}) AS v \
             WHERE {table}.id = v.column1"
        );
        db.execute_raw(Statement::from_sql_and_values(backend, update, values))
            .await?;
        after = Some(last);
    }
}
