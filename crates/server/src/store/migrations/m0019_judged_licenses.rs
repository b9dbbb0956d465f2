//! The instants at which licenses were judged. Rows that a server with a wrong clock may have judged
//! get one in the future, and are judged again.

use sea_orm_migration::prelude::*;

use super::{add_column, create_index, rows_of};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let judged_at = ColumnDef::new("judged_at").timestamp().take();
        add_column(manager, "licenses", judged_at).await?;
        create_index(manager, "licenses", &["judged_at"]).await?;
        // Without dates in its amendments, a license is the same at all times.
        let judge = "UPDATE licenses SET judged_at = '9999-12-31 00:00:00' WHERE id IN (\
             SELECT license_id FROM amendments WHERE effective_at > recorded_at \
             OR CAST(changes AS TEXT) LIKE '%\"from\"%' \
             OR CAST(changes AS TEXT) LIKE '%\"until\"%' \
             OR CAST(changes AS TEXT) LIKE '%\"start\"%')";
        let rows = rows_of(manager, &["amendments", "licenses"]).await?;
        rows.execute_unprepared(judge).await?;
        Ok(())
    }
}
