//! `plans`: the published versions of plans. Rows are only added, never changed.

use chrono::{DateTime, NaiveDateTime, Utc};
use license_core::amendment::PlanVersion;
use license_core::plan::Plan;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _};

use super::StoreError;
use super::page_bytes::length;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "plans")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    name: String,
    #[sea_orm(primary_key, auto_increment = false)]
    version: i32,
    published_at: Option<NaiveDateTime>,
    author: String,
    contents: Json,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&[Column::Name, Column::Version]]).append_only()
}

/// Which rows are the newest version of their plan.
const NEWEST: &str = "version = (SELECT MAX(v.version) FROM plans AS v WHERE v.name = plans.name)";

/// A published version of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedPlan {
    /// The plan and the version.
    pub version: PlanVersion,
    /// When it was published; `None` for those that came with the tables.
    pub published_at: Option<DateTime<Utc>>,
    /// Who published it.
    pub author: String,
    /// What it consists of.
    pub contents: Plan,
}

/// Adds a version.
///
/// # Errors
/// If the database returns an error, for example because the version already exists.
pub async fn insert(db: &impl ConnectionTrait, plan: &PublishedPlan) -> Result<(), StoreError> {
    let contents = serde_json::to_value(&plan.contents);
    let row = ActiveModel {
        name: ActiveValue::Set(plan.version.name.clone()),
        version: ActiveValue::Set(number(plan.version.version)),
        published_at: ActiveValue::Set(plan.published_at.map(|at| at.naive_utc())),
        author: ActiveValue::Set(plan.author.clone()),
        contents: ActiveValue::Set(contents.map_err(|error| DbErr::Json(error.to_string()))?),
    };
    Ok(writes::insert(db, Entity::insert(row)).await?)
}

/// A version of a plan: the newest one if none is named.
///
/// # Errors
/// If the database returns an error, or the row cannot be read.
pub async fn find(
    db: &impl ConnectionTrait,
    name: &str,
    version: Option<u32>,
) -> Result<Option<PublishedPlan>, StoreError> {
    let mut found = Entity::find().filter(Column::Name.eq(name));
    if let Some(version) = version {
        found = found.filter(Column::Version.eq(number(version)));
    }
    let found = found.order_by_desc(Column::Version).limit(1);
    let row = found.one(db).await?;
    row.map(PublishedPlan::try_from).transpose()
}

/// All versions of a plan, newest first.
///
/// # Errors
/// If the database returns an error, or a row cannot be read.
pub async fn versions(
    db: &impl ConnectionTrait,
    name: &str,
) -> Result<Vec<PublishedPlan>, StoreError> {
    let found = Entity::find().filter(Column::Name.eq(name));
    let rows = found.order_by_desc(Column::Version).all(db).await?;
    rows.into_iter().map(PublishedPlan::try_from).collect()
}

/// The number of plans.
///
/// # Errors
/// If the database returns an error.
pub async fn count(db: &impl ConnectionTrait) -> Result<u64, StoreError> {
    let names = Entity::find().select_only().column(Column::Name).distinct();
    Ok(names.count(db).await?)
}

/// The newest version of each plan, by name.
///
/// # Errors
/// If the database returns an error, or a row cannot be read.
pub async fn newest(db: &impl ConnectionTrait) -> Result<Vec<PublishedPlan>, StoreError> {
    let found = Entity::find().filter(Expr::cust(NEWEST));
    let rows = found.order_by_asc(Column::Name).all(db).await?;
    rows.into_iter().map(PublishedPlan::try_from).collect()
}

/// How many bytes of contents the newest versions of all plans have together.
///
/// # Errors
/// If the database returns an error.
pub async fn bytes_of_newest(db: &impl ConnectionTrait) -> Result<u64, StoreError> {
    bytes(db, Entity::find().filter(Expr::cust(NEWEST))).await
}

/// How many bytes of contents all versions of a plan have together.
///
/// # Errors
/// If the database returns an error.
pub async fn bytes_of_plan(db: &impl ConnectionTrait, name: &str) -> Result<u64, StoreError> {
    bytes(db, Entity::find().filter(Column::Name.eq(name))).await
}

async fn bytes(db: &impl ConnectionTrait, of: Select<Entity>) -> Result<u64, StoreError> {
    let sum = format!("CAST(SUM({}) AS BIGINT)", length("contents"));
    let sum = of.select_only().expr_as(Expr::cust(sum), "bytes");
    let sum: Option<Option<i64>> = sum.into_tuple().one(db).await?;
    Ok(sum.flatten().unwrap_or_default().unsigned_abs())
}

fn number(version: u32) -> i32 {
    i32::try_from(version).unwrap_or(i32::MAX)
}

impl TryFrom<Model> for PublishedPlan {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let contents = row.contents.to_string();
        let contents = serde_json::from_value(row.contents).map_err(|_| StoreError::Value {
            column: "plans.contents",
            value: contents,
        });
        Ok(Self {
            version: PlanVersion {
                name: row.name,
                version: u32::try_from(row.version).unwrap_or_default(),
            },
            published_at: row.published_at.map(|at| at.and_utc()),
            author: row.author,
            contents: contents?,
        })
    }
}
