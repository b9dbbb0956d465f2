//! The references of customers in the form in which they are compared with names.

use license_core::customer_id::name_key;
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::prelude::*;

use super::{add_column, create_index, rows_of};

const ROWS_AT_A_TIME: u64 = 1000;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let key = ColumnDef::new("reference_key").string_len(64).take();
        add_column(manager, "customers", key).await?;
        create_index(manager, "customers", &["reference_key"]).await?;
        let rows = rows_of(manager, &["customers"]).await?;
        add_keys(&rows).await
    }
}

/// Adds the keys, in batches of rows.
async fn add_keys(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    let backend = db.get_database_backend();
    let mut after = String::new();
    loop {
        let mut select = Query::select();
        select
            .columns(["id", "reference"])
            .from("customers")
            .and_where(Expr::col("reference").is_not_null())
            .and_where(Expr::col("id").gt(after))
            .order_by("id", Order::Asc)
            .limit(ROWS_AT_A_TIME);
        let rows = db.query_all(&select).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = last.try_get("", "id")?;
        let mut values: Vec<Value> = Vec::new();
        for row in &rows {
            let reference: String = row.try_get("", "reference")?;
            let key = name_key(&reference).unwrap_or_default();
            values.extend([row.try_get::<String>("", "id")?.into(), key.into()]);
        }
        let places = (1..=rows.len()).map(|row| match backend {
            DbBackend::Postgres => format!("(${}, ${})", 2 * row - 1, 2 * row),
            _ => "(?, ?)".to_owned(),
        });
        let places = places.collect::<Vec<_>>().join(", ");
        // Both engines give the columns of VALUES these names.
        let update = format!(
            "UPDATE customers SET reference_key = v.column2 FROM (VALUES {places}) AS v \
             WHERE customers.id = v.column1"
        );
        db.execute_raw(Statement::from_sql_and_values(backend, update, values))
            .await?;
    }
}
