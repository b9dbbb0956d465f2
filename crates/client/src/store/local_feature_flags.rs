//! `local_feature_flags`: the features of the newest license, and those that the site has switched
//! off (`system_enabled`).

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime, Utc};
use license_core::feature::{FeatureKey, MAX_FEATURES};
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _};

use super::StoreError;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "local_feature_flags")]
pub struct Model {
    #[sea_orm(primary_key)]
    id: i32,
    #[sea_orm(unique)]
    feature_key: String,
    enabled: Option<bool>,
    licensed: Option<bool>,
    system_enabled: Option<bool>,
    synced_at: Option<NaiveDateTime>,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// One row for each of these.
const KEY: [Column; 1] = [Column::FeatureKey];

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&KEY])
}

/// Features that the site has switched off. A null switch counts as on. If there are more than
/// [`MAX_FEATURES`], the oldest rows count.
///
/// # Errors
/// If the database returns an error.
pub async fn switched_off(db: &impl ConnectionTrait) -> Result<BTreeSet<FeatureKey>, StoreError> {
    let rows = super::find::<Entity>(db, |_| super::MAX_TEXT_CHARS)
        .filter(Column::SystemEnabled.eq(false))
        .order_by_asc(Column::Id)
        .limit(MAX_FEATURES as u64)
        .all(db)
        .await?;
    Ok(rows
        .iter()
        .filter_map(|row| FeatureKey::parse(&row.feature_key).ok())
        .collect())
}

/// Updates the rows so that exactly `keys` are licensed. The site's switches are not changed.
///
/// # Errors
/// If the database returns an error.
pub async fn license(
    db: &impl ConnectionTrait,
    keys: &BTreeSet<FeatureKey>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let listed: Vec<&str> = keys.iter().map(FeatureKey::as_str).collect();
    let others = Column::FeatureKey.is_not_in(listed.iter().copied());
    let unlicensed = vec![
        (Column::Enabled, false.into()),
        (Column::Licensed, false.into()),
        (Column::SyncedAt, now.naive_utc().into()),
    ];
    writes::update_all::<Entity>(db, others, unlicensed).await?;
    for key in listed {
        let row = ActiveModel {
            id: ActiveValue::NotSet,
            feature_key: ActiveValue::Set(key.to_owned()),
            enabled: ActiveValue::Set(Some(true)),
            licensed: ActiveValue::Set(Some(true)),
            system_enabled: ActiveValue::Set(Some(true)),
            synced_at: ActiveValue::Set(Some(now.naive_utc())),
        };
        let changed = [Column::Enabled, Column::Licensed, Column::SyncedAt];
        writes::upsert::<Entity>(db, writes::values(&row), &KEY, &changed).await?;
    }
    Ok(())
}

/// Switches a feature off or on for this site, whether a license lists it or
/// not.
///
/// # Errors
/// If the database returns an error.
pub async fn switch(
    db: &impl ConnectionTrait,
    key: &FeatureKey,
    on: bool,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let row = ActiveModel {
        id: ActiveValue::NotSet,
        feature_key: ActiveValue::Set(key.as_str().to_owned()),
        enabled: ActiveValue::Set(Some(false)),
        licensed: ActiveValue::Set(Some(false)),
        system_enabled: ActiveValue::Set(Some(on)),
        synced_at: ActiveValue::Set(Some(now.naive_utc())),
    };
    let changed = [Column::SystemEnabled];
    Ok(writes::upsert::<Entity>(db, writes::values(&row), &KEY, &changed).await?)
}
