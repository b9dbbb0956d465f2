//! Several former installations of a seat, and when they were replaced.

use chrono::NaiveDateTime;
use license_core::suspicion::{FormerInstallation, installation_fingerprint};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use sea_orm_migration::prelude::*;

use super::{add_column, rows_of};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let former = ColumnDef::new("former_installations").json().take();
        add_column(manager, "seats", former).await?;
        // One former installation was stored, but not when it was replaced: no earlier than the
        // seat was taken.
        let db = rows_of(manager, &["seats"]).await?;
        let backend = manager.get_database_backend();
        let known = "SELECT id, former_installation_id, activated_at FROM seats \
                     WHERE former_installation_id IS NOT NULL";
        for row in db
            .query_all_raw(Statement::from_string(backend, known))
            .await?
        {
            let id: i64 = row.try_get("", "id")?;
            let installation: String = row.try_get("", "former_installation_id")?;
            let activated_at: NaiveDateTime = row.try_get("", "activated_at")?;
            let former = vec![FormerInstallation {
                fingerprint: installation_fingerprint(&installation),
                replaced_at: activated_at.and_utc(),
                issued: 0,
            }];
            let former =
                serde_json::to_value(former).map_err(|error| DbErr::Json(error.to_string()))?;
            let update = match backend {
                DbBackend::Postgres => "UPDATE seats SET former_installations = $1 WHERE id = $2",
                _ => "UPDATE seats SET former_installations = ? WHERE id = ?",
            };
            let values = [former.into(), id.into()];
            db.execute_raw(Statement::from_sql_and_values(backend, update, values))
                .await?;
        }
        let mut table = Table::alter();
        let table = table.table("seats").drop_column("former_installation_id");
        manager.alter_table(table.to_owned()).await
    }
}
