//! Customers as records. Licenses with equal names belong to one; a license without a name belongs
//! to none.

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDateTime;
use license_core::customer_id::{id_of_key, name_key};
use license_core::folded_text::folded;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::prelude::*;

use super::add_column;

/// Rows that are read or written together.
const ROWS_AT_A_TIME: u64 = 1000;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_table(manager).await?;
        let customer = ColumnDef::new("customer_id").string_len(36).take();
        add_column(manager, "licenses", customer).await?;
        let db = manager.get_connection();
        let mut names = Names::default();
        read_licenses(db, &mut names).await?;
        read_amendments(db, &mut names).await?;
        add_customers(db, &names).await?;
        assign(db, &mut names).await?;
        // Another index has the name that would be usual.
        let index = "CREATE INDEX licenses_of_customer ON licenses (customer_id)";
        db.execute_unprepared(index).await?;
        Ok(())
    }
}

async fn create_table(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let column = |name: &'static str| ColumnDef::new(name);
    let customers = Table::create()
        .table("customers")
        .col(column("id").string_len(36).not_null().primary_key())
        .col(column("name").string_len(255).not_null())
        .col(column("name_folded").text().not_null())
        .col(column("name_key").string_len(64).not_null())
        .col(column("reference").string_len(255))
        .col(column("contacts").json().not_null().default("[]"))
        .col(column("notes").text().not_null().default(""))
        .col(column("merged_into").string_len(36))
        .col(column("created_at").timestamp().not_null())
        .col(column("updated_at").timestamp().not_null())
        .to_owned();
    manager.create_table(customers).await?;
    for unique in ["name_key", "reference"] {
        let index = Index::create()
            .name(format!("customers_{unique}"))
            .table("customers")
            .col(unique)
            .unique()
            .to_owned();
        manager.create_index(index).await?;
    }
    Ok(())
}

/// The names of customers, by their keys.
#[derive(Default)]
struct Names {
    found: BTreeMap<String, Name>,
    /// The key of each spelling, which is expensive to compute.
    keys: HashMap<String, Option<String>>,
}

struct Name {
    /// How many licenses have each spelling.
    spellings: BTreeMap<String, u64>,
    first_at: NaiveDateTime,
}

impl Names {
    fn key(&mut self, name: &str) -> Option<String> {
        if let Some(known) = self.keys.get(name) {
            return known.clone();
        }
        let key = name_key(name);
        self.keys.insert(name.to_owned(), key.clone());
        key
    }

    fn add(&mut self, name: &str, licenses: u64, at: NaiveDateTime) {
        let Some(key) = self.key(name) else {
            return;
        };
        let known = self.found.entry(key).or_insert_with(|| Name {
            spellings: BTreeMap::new(),
            first_at: at,
        });
        known.first_at = std::cmp::min(known.first_at, at);
        *known.spellings.entry(name.trim().to_owned()).or_default() += licenses;
    }
}

impl Name {
    /// The most frequent spelling.
    fn spelling(&self) -> &str {
        let most = self.spellings.iter().rev().max_by_key(|(_, count)| **count);
        most.map_or("", |(name, _)| name)
    }
}

async fn read_licenses(db: &impl ConnectionTrait, names: &mut Names) -> Result<(), DbErr> {
    let mut after: Option<String> = None;
    loop {
        let mut select = Query::select();
        select
            .columns(["id", "customer", "created_at"])
            .from("licenses")
            .order_by("id", Order::Asc)
            .limit(ROWS_AT_A_TIME);
        if let Some(after) = after {
            select.and_where(Expr::col("id").gt(after));
        }
        let rows = db.query_all(&select).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        for row in &rows {
            let name: String = row.try_get("", "customer")?;
            names.add(&name, 1, row.try_get("", "created_at")?);
        }
        after = Some(last.try_get("", "id")?);
    }
}

/// Also the names that licenses had or will have: amendments are never changed. A license with one
/// amendment has had no other name.
async fn read_amendments(db: &impl ConnectionTrait, names: &mut Names) -> Result<(), DbErr> {
    let mut after = i64::MIN;
    loop {
        let amended = Query::select()
            .column("id")
            .from("licenses")
            .and_where(Expr::col("amendment").gt(1))
            .take();
        let mut select = Query::select();
        select
            .columns(["id", "changes", "recorded_at"])
            .from("amendments")
            .and_where(Expr::col("id").gt(after))
            .and_where(Expr::col("license_id").in_subquery(amended))
            .order_by("id", Order::Asc)
            .limit(ROWS_AT_A_TIME);
        let rows = db.query_all(&select).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        for row in &rows {
            let changes: serde_json::Value = row.try_get("", "changes")?;
            let changes = changes.as_array().into_iter().flatten();
            for name in changes.filter_map(|change| change["customer"].as_str()) {
                names.add(name, 0, row.try_get("", "recorded_at")?);
            }
        }
        after = last.try_get("", "id")?;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the table is new, and has no triggers"
)]
async fn add_customers(db: &impl ConnectionTrait, names: &Names) -> Result<(), DbErr> {
    let found: Vec<_> = names.found.iter().collect();
    let size = usize::try_from(ROWS_AT_A_TIME).unwrap_or(usize::MAX);
    for names in found.chunks(size) {
        let mut insert = Query::insert();
        insert.into_table("customers").columns([
            "id",
            "name",
            "name_folded",
            "name_key",
            "created_at",
            "updated_at",
        ]);
        for (key, name) in names {
            let spelling = name.spelling();
            let values = insert.values([
                id_of_key(key).into(),
                spelling.into(),
                folded(spelling).into(),
                key.as_str().into(),
                name.first_at.into(),
                name.first_at.into(),
            ]);
            values.map_err(|error| DbErr::Custom(error.to_string()))?;
        }
        db.execute(&insert).await?;
    }
    Ok(())
}

/// Gives each license its customer, and the name in the spelling of the record.
async fn assign(db: &impl ConnectionTrait, names: &mut Names) -> Result<(), DbErr> {
    let backend = db.get_database_backend();
    let mut after: Option<String> = None;
    loop {
        let mut select = Query::select();
        select
            .columns(["id", "customer"])
            .from("licenses")
            .order_by("id", Order::Asc)
            .limit(ROWS_AT_A_TIME);
        if let Some(after) = after {
            select.and_where(Expr::col("id").gt(after));
        }
        let rows = db.query_all(&select).await?;
        let Some(last) = rows.last() else {
            break;
        };
        after = Some(last.try_get("", "id")?);
        let mut values: Vec<Value> = Vec::new();
        for row in &rows {
            let name: String = row.try_get("", "customer")?;
            if let Some(key) = names.key(&name) {
                let id: String = row.try_get("", "id")?;
                values.extend([id.into(), id_of_key(&key).into()]);
            }
        }
        if values.is_empty() {
            continue;
        }
        let places = (1..=values.len() / 2).map(|row| match backend {
            DbBackend::Postgres => format!("(${}, ${})", 2 * row - 1, 2 * row),
            _ => "(?, ?)".to_owned(),
        });
        let places = places.collect::<Vec<_>>().join(", ");
        // Both engines give the columns of VALUES these names.
        let update = format!(
            "UPDATE licenses SET customer_id = v.column2 FROM (VALUES {places}) AS v \
             WHERE licenses.id = v.column1"
        );
        db.execute_raw(Statement::from_sql_and_values(backend, update, values))
            .await?;
    }
    for update in [
        "UPDATE licenses SET customer = c.name, customer_folded = c.name_folded \
         FROM customers AS c WHERE c.id = licenses.customer_id AND licenses.customer <> c.name",
        "UPDATE licenses SET customer = '', customer_folded = '' \
         WHERE customer_id IS NULL AND customer <> ''",
    ] {
        db.execute_unprepared(update).await?;
    }
    Ok(())
}
