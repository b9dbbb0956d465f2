//! Until when the database is known to hold all that was issued.

use sea_orm::ConnectionTrait as _;
use sea_orm_migration::prelude::*;

use super::rows_of;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let coverage = Table::create()
            .table("coverage")
            .col(column("id").big_integer().not_null().primary_key())
            .col(column("version").big_integer().not_null())
            .col(column("covered_until").timestamp().not_null())
            .col(column("is_closed").boolean().not_null())
            .to_owned();
        manager.create_table(coverage).await?;
        // Until then, a server has been running.
        let recorded = "INSERT INTO coverage (id, version, covered_until, is_closed) \
                        SELECT 1, 1, recorded_at, FALSE FROM signing_clock";
        let db = rows_of(manager, &["coverage", "signing_clock"]).await?;
        db.execute_unprepared(recorded).await?;
        Ok(())
    }
}
