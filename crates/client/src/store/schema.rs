//! Creates the tables of version 1.0.0 if they are missing.
//!
//! There is no migration framework on purpose: its bookkeeping would be a
//! fifth table, and the tables must stay as the Python service knows them.
//! Additional data of this service goes into rows of `system_config`.

use license_service::database::{Database, Failure};
use sea_orm::sea_query::{
    Alias, ColumnDef, Expr, Index, IndexCreateStatement, IntoIden as _, Query, Table,
    TableCreateStatement,
};
use sea_orm::{ConnectionTrait as _, DbErr};

/// Creates the missing tables with their indexes, in one transaction: no other process sees only
/// some of them, or a table without its unique index. Existing tables are not changed, so a
/// database user without permission to create tables is sufficient.
pub(super) async fn create_missing_tables(db: &Database) -> Result<(), DbErr> {
    let mut missing = missing_tables(db).await?;
    while !missing.is_empty() {
        let created = create(db, &missing).await;
        if created.is_ok() {
            tracing::info!(tables = missing.join(", "), "created the missing tables");
            return Ok(());
        }
        // If two processes start together, one of them comes too late.
        let left = missing_tables(db).await;
        match left {
            Ok(left) if left.len() < missing.len() => missing = left,
            Ok(_) | Err(_) => return created,
        }
    }
    Ok(())
}

pub(super) async fn missing_tables(db: &Database) -> Result<Vec<&'static str>, DbErr> {
    let mut missing = Vec::new();
    for table in tables() {
        if !exists(db, table.name).await? {
            missing.push(table.name);
        }
    }
    Ok(missing)
}

fn tables() -> [Definition; 4] {
    [
        local_license_cache(),
        local_license_validation_attempts(),
        local_feature_flags(),
        system_config(),
    ]
}

/// The names of the indexes that are created with the tables.
pub(super) fn index_names() -> Vec<String> {
    let names = |table: &Definition| table.indexes().into_iter().map(|(name, _)| name).collect();
    tables().iter().flat_map::<Vec<_>, _>(names).collect()
}

/// Whether a table exists and can be read.
///
/// # Errors
/// If it cannot be read for a reason other than that it does not exist.
async fn exists(db: &Database, table: &'static str) -> Result<bool, DbErr> {
    let mut probe = Query::select();
    probe.expr(Expr::val(1)).from(table).limit(1);
    // Outside a transaction, a missing table would count as an outage.
    let reading = db.begin_reading().await?;
    // Something other than a table may have its name.
    if !reading.may_have(table) {
        return Ok(false);
    }
    match reading.query_one(&probe).await {
        Ok(_) => Ok(true),
        Err(error) if Failure::of(&error) == Failure::NoTable => Ok(false),
        Err(error) => Err(error),
    }
}

#[expect(clippy::disallowed_methods, reason = "creates tables")]
async fn create(db: &Database, names: &[&str]) -> Result<(), DbErr> {
    let transaction = db.begin().await?;
    transaction.check_creation()?;
    let wanted = tables().into_iter();
    for table in wanted.filter(|table| names.contains(&table.name)) {
        transaction.execute(&table.create()).await?;
        for (_, index) in table.indexes() {
            transaction.execute(&index).await?;
        }
    }
    transaction.commit().await
}

struct Definition {
    name: &'static str,
    columns: Vec<ColumnDef>,
    unique: Option<&'static str>,
    indexed: &'static [&'static str],
}

impl Definition {
    /// Fails if something else has this name: the table would not be the one that is needed.
    fn create(&self) -> TableCreateStatement {
        let mut statement = Table::create();
        statement.table(self.name);
        let mut id = ColumnDef::new("id");
        statement.col(id.integer().not_null().auto_increment().primary_key());
        for column in &self.columns {
            statement.col(column.clone());
        }
        statement
    }

    /// The indexes with their names. `id` has one in addition to its primary key, as SQLAlchemy
    /// created it.
    fn indexes(&self) -> Vec<(String, IndexCreateStatement)> {
        let plain = self.indexed.iter().map(|column| (*column, false));
        [("id", false)]
            .into_iter()
            .chain(plain)
            .chain(self.unique.map(|column| (column, true)))
            .map(|(column, unique)| {
                let name = format!("ix_{}_{column}", self.name);
                let mut index = Index::create();
                index
                    .name(&name)
                    .table(self.name)
                    .col(Alias::new(column).into_iden());
                if unique {
                    index.unique();
                }
                (name, index)
            })
            .collect()
    }
}

fn local_license_cache() -> Definition {
    Definition {
        name: "local_license_cache",
        columns: vec![
            column("license_key").string_len(255).not_null().take(),
            column("license_data").json().not_null().take(),
            column("cached_at").timestamp().take(),
            column("valid_until").timestamp().not_null().take(),
            column("last_validated_at").timestamp().take(),
            column("is_valid").boolean().take(),
            column("validation_error").text().take(),
            column("in_grace_period").boolean().take(),
            column("grace_period_started_at").timestamp().take(),
            column("grace_period_expires_at").timestamp().take(),
            column("license_signature").text().not_null().take(),
        ],
        unique: Some("license_key"),
        indexed: &[],
    }
}

fn local_license_validation_attempts() -> Definition {
    Definition {
        name: "local_license_validation_attempts",
        columns: vec![
            column("license_key").string_len(255).take(),
            column("result").string_len(20).not_null().take(),
            column("error_message").text().take(),
            column("hardware_id").string_len(255).take(),
            column("attempted_at").timestamp().take(),
        ],
        unique: None,
        indexed: &["attempted_at"],
    }
}

fn local_feature_flags() -> Definition {
    Definition {
        name: "local_feature_flags",
        columns: vec![
            column("feature_key").string_len(100).not_null().take(),
            column("enabled").boolean().take(),
            column("licensed").boolean().take(),
            column("system_enabled").boolean().take(),
            column("synced_at").timestamp().take(),
        ],
        unique: Some("feature_key"),
        indexed: &[],
    }
}

fn system_config() -> Definition {
    Definition {
        name: "system_config",
        columns: vec![
            column("key").string_len(100).not_null().take(),
            column("value").text().not_null().take(),
            column("updated_at").timestamp().take(),
        ],
        unique: Some("key"),
        indexed: &[],
    }
}

fn column(name: &'static str) -> ColumnDef {
    ColumnDef::new(name)
}
