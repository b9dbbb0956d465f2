//! Writes rows, and checks that the database stored them: a trigger or a rule of another user of
//! the database can skip a row without an error. Only this module executes inserts and updates.

use sea_orm::sea_query::{
    BinOper, Condition, Expr, ExprTrait as _, IntoCondition, OnConflict, Query, UpdateStatement,
};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, ColumnType, ConnectionTrait, DbBackend, DbErr,
    EntityTrait, IdenStatic as _, Insert, Iterable as _, PrimaryKeyToColumn as _, PrimaryKeyTrait,
};

/// How the error of a change begins that the database executed without an error, but did not store.
pub(super) const NOT_STORED: &str = "the database did not store the change:";

/// A value for a column.
pub type Value<E> = (<E as EntityTrait>::Column, Expr);

type ColumnOf<A> = <<A as ActiveModelTrait>::Entity as EntityTrait>::Column;
type IdOf<A> =
    <<<A as ActiveModelTrait>::Entity as EntityTrait>::PrimaryKey as PrimaryKeyTrait>::ValueType;

/// Adds a row. With `ON CONFLICT DO UPDATE`, the update must change the row in any case; otherwise
/// use [`upsert`].
///
/// # Errors
/// If the database returns an error or skips the row.
#[expect(clippy::disallowed_methods, reason = "checks the number of rows")]
pub async fn insert<A: ActiveModelTrait>(
    db: &impl ConnectionTrait,
    insert: Insert<A>,
) -> Result<(), DbErr> {
    match insert.exec_without_returning(db).await? {
        0 => Err(skipped::<A::Entity>()),
        _ => Ok(()),
    }
}

/// Adds a row, and returns the id that the database gave it.
///
/// # Errors
/// If the database returns an error or skips the row.
#[expect(clippy::disallowed_methods, reason = "fails without a row")]
pub async fn insert_for_id<A: ActiveModelTrait>(
    db: &impl ConnectionTrait,
    insert: Insert<A>,
) -> Result<IdOf<A>, DbErr> {
    match insert.exec(db).await {
        Ok(stored) => Ok(stored.last_insert_id),
        Err(DbErr::RecordNotInserted) => Err(skipped::<A::Entity>()),
        Err(error) => Err(error),
    }
}

/// Adds a row with `ON CONFLICT DO NOTHING`, unless a row that matches `existing` prevents it;
/// returns whether it was added.
///
/// # Errors
/// If the database returns an error or skips the row.
#[expect(clippy::disallowed_methods, reason = "looks for the existing row")]
pub async fn insert_if_missing<A: ActiveModelTrait>(
    db: &impl ConnectionTrait,
    insert: Insert<A>,
    existing: impl IntoCondition,
) -> Result<bool, DbErr> {
    if insert.exec_without_returning(db).await? > 0 {
        return Ok(true);
    }
    match is_any::<A::Entity>(db, existing.into_condition()).await? {
        true => Ok(false),
        false => Err(skipped::<A::Entity>()),
    }
}

/// Adds a row; if one with the same `key` exists, changes its `changed` columns.
///
/// # Errors
/// If the database returns an error or skips the row.
pub async fn upsert<E: EntityTrait>(
    db: &impl ConnectionTrait,
    row: Vec<Value<E>>,
    key: &[E::Column],
    changed: &[E::Column],
) -> Result<(), DbErr> {
    let among = |columns: &[E::Column]| {
        let found = |column: &E::Column| columns.iter().any(|it| it.as_str() == column.as_str());
        let some = row.iter().filter(|(column, _)| found(column));
        some.cloned().collect::<Vec<_>>()
    };
    let is_stored = holding::<E>(db, [among(key), among(changed)].concat());
    let (columns, values): (Vec<_>, Vec<_>) = row.into_iter().unzip();
    let mut on_conflict = OnConflict::columns(key.iter().copied());
    on_conflict.update_columns(changed.iter().copied());
    let mut insert = Query::insert();
    insert.into_table(E::default().table_ref()).columns(columns);
    insert.on_conflict(on_conflict);
    insert
        .values(values)
        .map_err(|error| DbErr::Custom(error.to_string()))?;
    #[expect(clippy::disallowed_methods, reason = "checks the number of rows")]
    let stored = db.execute(&insert).await?.rows_affected();
    if stored == 0 && !is_any::<E>(db, is_stored).await? {
        return Err(skipped::<E>());
    }
    Ok(())
}

/// The values of a row that are set.
pub fn values<A: ActiveModelTrait>(row: &A) -> Vec<Value<A::Entity>> {
    let set = |column: ColumnOf<A>| match row.get(column) {
        ActiveValue::Set(value) | ActiveValue::Unchanged(value) => {
            Some((column, column.save_as(Expr::val(value))))
        }
        ActiveValue::NotSet => None,
    };
    ColumnOf::<A>::iter().filter_map(set).collect()
}

/// Changes the row with the same primary key, which must exist.
///
/// # Errors
/// As [`update_one`].
pub async fn save<A: ActiveModelTrait>(db: &impl ConnectionTrait, row: &A) -> Result<(), DbErr> {
    let is_key = |(column, _): &Value<A::Entity>| {
        <A::Entity as EntityTrait>::PrimaryKey::from_column(*column).is_some()
    };
    let (key, values): (Vec<_>, Vec<_>) = values(row).into_iter().partition(is_key);
    update_one::<A::Entity>(db, holding::<A::Entity>(db, key), values).await
}

/// Changes the row that matches `row`, which must exist.
///
/// # Errors
/// If the database returns an error, skips the change, or does not have or show the row.
pub async fn update_one<E: EntityTrait>(
    db: &impl ConnectionTrait,
    row: impl IntoCondition,
    values: Vec<Value<E>>,
) -> Result<(), DbErr> {
    let row = row.into_condition();
    if update_if::<E>(db, row.clone(), values).await? || is_any::<E>(db, row).await? {
        return Ok(());
    }
    let table = E::default().table_name().to_owned();
    Err(DbErr::Custom(format!(
        "{NOT_STORED} the row in table {table} is missing, or hidden by row-level security; restore \
         the database, or make the user in DATABASE_URL the owner of the tables"
    )))
}

/// Changes the row that matches `row`, if there is one; returns whether it was changed. A change
/// to the values that the row already has may count as no change.
///
/// # Errors
/// If the database returns an error or skips the change.
pub async fn update_if<E: EntityTrait>(
    db: &impl ConnectionTrait,
    row: impl IntoCondition,
    values: Vec<Value<E>>,
) -> Result<bool, DbErr> {
    Ok(update::<E>(db, row.into_condition(), values, 1).await? > 0)
}

/// Changes all rows that match `rows`, which may be none.
///
/// # Errors
/// If the database returns an error or skips a change.
pub async fn update_all<E: EntityTrait>(
    db: &impl ConnectionTrait,
    rows: impl IntoCondition,
    values: Vec<Value<E>>,
) -> Result<(), DbErr> {
    let rows = rows.into_condition();
    let mut count = Query::select();
    count
        .expr(Expr::cust(match db.get_database_backend() {
            DbBackend::Postgres => "pg_catalog.count(*)",
            _ => "count(*)",
        }))
        .from(E::default().table_ref())
        .cond_where(rows.clone());
    let count: i64 = match db.query_one(&count).await? {
        Some(row) => row.try_get_by_index(0)?,
        None => 0,
    };
    let count = u64::try_from(count).unwrap_or_default();
    update::<E>(db, rows, values, count).await?;
    Ok(())
}

/// Returns the number of changed rows. If there are fewer than `expected`, no matching row may have
/// other values: PostgreSQL's `suppress_redundant_updates_trigger` skips changes to the same values.
async fn update<E: EntityTrait>(
    db: &impl ConnectionTrait,
    rows: Condition,
    values: Vec<Value<E>>,
    expected: u64,
) -> Result<u64, DbErr> {
    let mut update = UpdateStatement::new();
    update.table(E::default().table_ref());
    update
        .values(values.iter().cloned())
        .cond_where(rows.clone());
    #[expect(clippy::disallowed_methods, reason = "checks the number of rows")]
    let changed = db.execute(&update).await?.rows_affected();
    if changed < expected {
        let others = Condition::all()
            .add(rows)
            .add(holding::<E>(db, values).not());
        if is_any::<E>(db, others).await? {
            return Err(skipped::<E>());
        }
    }
    Ok(changed)
}

/// Matches rows with these values.
fn holding<E: EntityTrait>(db: &impl ConnectionTrait, values: Vec<Value<E>>) -> Condition {
    let has = |(column, value): Value<E>| {
        let is_json = matches!(
            column.def().get_column_type(),
            ColumnType::Json | ColumnType::JsonBinary
        );
        let column = Expr::col(column.as_column_ref());
        let same = BinOper::Custom("IS NOT DISTINCT FROM");
        match is_json && db.get_database_backend() == DbBackend::Postgres {
            // PostgreSQL cannot compare JSON.
            true => column.cast_as("text").binary(same, value.cast_as("text")),
            false => column.binary(same, value),
        }
    };
    values
        .into_iter()
        .map(has)
        .fold(Condition::all(), Condition::add)
}

async fn is_any<E: EntityTrait>(db: &impl ConnectionTrait, rows: Condition) -> Result<bool, DbErr> {
    let mut any = Query::select();
    any.expr(Expr::val(1))
        .from(E::default().table_ref())
        .cond_where(rows)
        .limit(1);
    Ok(db.query_one(&any).await?.is_some())
}

/// Whether a change was executed without an error, but was not stored.
#[must_use]
pub fn is_skipped(error: &DbErr) -> bool {
    matches!(error, DbErr::Custom(text) if text.starts_with(NOT_STORED))
}

fn skipped<E: EntityTrait>() -> DbErr {
    skips(E::default().table_name())
}

/// The error of a change of this table that was skipped.
pub(super) fn skips(table: &str) -> DbErr {
    DbErr::Custom(format!(
        "{NOT_STORED} a trigger or rule on table {table} skips it; remove the trigger or rule"
    ))
}
