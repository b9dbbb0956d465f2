//! The time of each call that reported an old number.

use sea_orm::{ConnectionTrait as _, DbBackend};
use sea_orm_migration::prelude::*;

use super::{add_column, rows_of};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let times = ColumnDef::new("regressed_at").json().take();
        add_column(manager, "seats", times).await?;
        // If there were several, only the time of the first was recorded.
        let times = match manager.get_database_backend() {
            DbBackend::Postgres => {
                "json_build_array(to_char(regressed_since, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))"
            }
            _ => "json_array(strftime('%Y-%m-%dT%H:%M:%SZ', regressed_since))",
        };
        let keep = format!(
            "UPDATE seats SET regressed_at = {times} \
             WHERE regressions > 0 AND regressed_since IS NOT NULL"
        );
        let db = rows_of(manager, &["seats"]).await?;
        db.execute_unprepared(&keep).await?;
        for column in ["regressions", "regressed_since"] {
            let mut table = Table::alter();
            let table = table.table("seats").drop_column(column);
            manager.alter_table(table.to_owned()).await?;
        }
        Ok(())
    }
}
