//! The newest instant at which anything was signed.

use sea_orm::ConnectionTrait as _;
use sea_orm_migration::prelude::*;

use super::rows_of;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = |name: &'static str| ColumnDef::new(name);
        let signing_clock = Table::create()
            .table("signing_clock")
            .col(column("id").big_integer().not_null().primary_key())
            .col(column("recorded_at").timestamp().not_null())
            .col(column("accepted_at").timestamp())
            .to_owned();
        manager.create_table(signing_clock).await?;
        // A machine counts as seen when something is signed for it.
        let newest = "INSERT INTO signing_clock (id, recorded_at) SELECT 1, newest FROM \
                      (SELECT MAX(last_seen_at) AS newest FROM seats) AS seen \
                      WHERE newest IS NOT NULL";
        let db = rows_of(manager, &["seats", "signing_clock"]).await?;
        db.execute_unprepared(newest).await?;
        Ok(())
    }
}
