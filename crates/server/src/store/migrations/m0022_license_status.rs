//! The starts of licenses, whether they are trials, and how much of everything else that is counted
//! they grant. Rows that may have any of these are judged again.

use license_core::plan::Plan;
use sea_orm::{ConnectionTrait, Statement};
use sea_orm_migration::prelude::*;

use super::{add_column, rows_of};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        for column in [
            column("starts_at").timestamp().take(),
            column("trial").boolean().not_null().default(false).take(),
            column("counts").json().take(),
        ] {
            add_column(manager, "licenses", column).await?;
        }
        let rows = rows_of(manager, &["amendments", "licenses", "plans"]).await?;
        // Licenses are judged again from the instant in this column on.
        let judge_again = "UPDATE licenses SET changes_at = '2000-01-01 00:00:00' \
            WHERE is_plain = FALSE OR id IN (SELECT license_id FROM amendments \
            WHERE CAST(changes AS text) LIKE '%\"start\"%')";
        rows.execute_unprepared(judge_again).await?;
        mark_trials(&rows).await
    }
}

async fn mark_trials(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    let backend = db.get_database_backend();
    let select = "SELECT name, version, contents FROM plans";
    let plans = db.query_all_raw(Statement::from_string(backend, select));
    for row in plans.await? {
        let contents: serde_json::Value = row.try_get("", "contents")?;
        let is_trial = serde_json::from_value::<Plan>(contents).is_ok_and(|plan| plan.trial);
        if is_trial {
            let name: String = row.try_get("", "name")?;
            let version: i32 = row.try_get("", "version")?;
            let mut update = Query::update();
            update
                .table("licenses")
                .value("trial", true)
                .and_where(Expr::col("plan").eq(format!("{name}@{version}")));
            db.execute_raw(backend.build(&update)).await?;
        }
    }
    Ok(())
}
