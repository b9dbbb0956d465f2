//! The changes that licenses consist of. Every license that exists gets its first one.

use chrono::NaiveDateTime;
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement};
use sea_orm_migration::prelude::*;
use serde_json::json;

use super::{add_column, rows_of};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_table(manager).await?;
        let column = |name: &'static str| ColumnDef::new(name);
        for column in [
            column("plan").string_len(80).not_null().default("").take(),
            column("amendment").integer().not_null().default(1).take(),
            column("is_plain").boolean().not_null().default(true).take(),
            column("changes_at").timestamp().take(),
        ] {
            add_column(manager, "licenses", column).await?;
        }
        let db = manager.get_connection();
        let rows = rows_of(manager, &["amendments", "licenses"]).await?;
        rows.execute_unprepared("UPDATE licenses SET plan = tier || '@1'")
            .await?;
        let due = "CREATE INDEX licenses_changes_at ON licenses (changes_at) \
                   WHERE changes_at IS NOT NULL";
        db.execute_unprepared(due).await?;
        add_first_amendments(&rows).await
    }
}

async fn create_table(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let column = |name: &'static str| ColumnDef::new(name);
    let amendments = Table::create()
        .table("amendments")
        .col(
            column("id")
                .big_integer()
                .not_null()
                .auto_increment()
                .primary_key(),
        )
        .col(column("license_id").string_len(36).not_null())
        .col(column("number").integer().not_null())
        .col(column("author").string_len(255).not_null())
        .col(column("reason").text())
        .col(column("order_reference").string_len(255))
        .col(column("recorded_at").timestamp().not_null())
        .col(column("effective_at").timestamp().not_null())
        .col(column("undoes").integer())
        .col(column("changes").json().not_null())
        .foreign_key(
            ForeignKey::create()
                .from("amendments", "license_id")
                .to("licenses", "id"),
        )
        .to_owned();
    manager.create_table(amendments).await?;
    let unique = Index::create()
        .name("amendments_license_id_number")
        .table("amendments")
        .col("license_id")
        .col("number")
        .unique()
        .to_owned();
    manager.create_index(unique).await
}

/// Records what each license consists of, in batches of rows.
async fn add_first_amendments(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    const ROWS_AT_A_TIME: u64 = 1000;
    let mut after: Option<String> = None;
    loop {
        let mut select = Query::select();
        select
            .columns([
                "id",
                "customer",
                "tier",
                "features",
                "max_cameras",
                "max_users",
                "max_storage_gb",
                "seats",
                "moves",
                "moves_period_days",
                "expires_at",
            ])
            .from("licenses")
            .order_by("id", Order::Asc)
            .limit(ROWS_AT_A_TIME);
        if let Some(after) = after {
            select.and_where(Expr::col("id").gt(after));
        }
        let rows = db.query_all(&select).await?;
        let mut values = Vec::new();
        let mut last = None;
        for row in &rows {
            let id: String = row.try_get("", "id")?;
            values.extend([id.clone().into(), changes(row)?.to_string().into()]);
            last = Some(id);
        }
        let Some(last) = last else {
            return Ok(());
        };
        let insert = insert(db.get_database_backend(), rows.len());
        db.execute_raw(Statement::from_sql_and_values(
            db.get_database_backend(),
            insert,
            values,
        ))
        .await?;
        after = Some(last);
    }
}

/// Adds the first amendments of so many licenses, from their ids and changes.
fn insert(backend: DbBackend, count: usize) -> String {
    let (seconds, changes) = match backend {
        DbBackend::Postgres => (
            "date_trunc('second', licenses.created_at)",
            "CAST(v.column2 AS json)",
        ),
        _ => ("substr(licenses.created_at, 1, 19)", "v.column2"),
    };
    let places = (1..=count).map(|row| match backend {
        DbBackend::Postgres => format!("(${}, ${})", 2 * row - 1, 2 * row),
        _ => "(?, ?)".to_owned(),
    });
    let places = places.collect::<Vec<_>>().join(", ");
    // Both engines give the columns of VALUES these names.
    format!(
        "INSERT INTO amendments \
         (license_id, number, author, recorded_at, effective_at, changes) \
         SELECT licenses.id, 1, 'migration', {seconds}, {seconds}, {changes} \
         FROM (VALUES {places}) AS v JOIN licenses ON licenses.id = v.column1"
    )
}

/// The changes that make a license of its row.
fn changes(row: &QueryResult) -> Result<serde_json::Value, DbErr> {
    let mut changes = vec![json!({"terms": {
        "seats": row.try_get::<i32>("", "seats")?,
        "moves": row.try_get::<i32>("", "moves")?,
        "movesPeriodDays": row.try_get::<i32>("", "moves_period_days")?,
    }})];
    let features: serde_json::Value = row.try_get("", "features")?;
    let features = features.as_array().into_iter().flatten();
    changes.extend(features.map(|key| json!({"grant": {"key": key}})));
    for (key, column) in [
        ("cameras", "max_cameras"),
        ("users", "max_users"),
        ("storage_gb", "max_storage_gb"),
    ] {
        let quantity = match row.try_get::<i64>("", column)? {
            ..0 => json!("unlimited"),
            number => json!(number),
        };
        changes.push(json!({"grant": {"key": key, "quantity": quantity}}));
    }
    let customer: String = row.try_get("", "customer")?;
    changes.push(json!({"customer": customer}));
    let tier: String = row.try_get("", "tier")?;
    changes.push(json!({"plan": {"name": tier, "version": 1}}));
    let expires_at: Option<NaiveDateTime> = row.try_get("", "expires_at")?;
    if let Some(end) = expires_at {
        changes.push(json!({"expiry": end.and_utc()}));
    }
    Ok(changes.into())
}
