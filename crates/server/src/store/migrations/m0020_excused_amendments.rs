//! The amendment whose lower number of seats a seat was excused from, because the database may be
//! older than its site. A seat is excused once for each amendment.

use sea_orm_migration::prelude::*;

use super::add_column;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let amendment = ColumnDef::new("excused_amendment").integer().take();
        add_column(manager, "seats", amendment).await
    }
}
