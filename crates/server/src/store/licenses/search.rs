//! The licenses that match, some at a time.

use chrono::{DateTime, Utc};
use license_core::folded_text::folded;
use license_core::license_key::LicenseKey;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, LikeExpr, NullOrdering, Query};
use sea_orm::{Condition, ConnectionTrait, EntityTrait, Order, QueryOrder as _, QuerySelect as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Column, Entity, License, Status};
use crate::store::{MAX_ROWS, StoreError, seats};

/// Which licenses.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Of whom: part of the customer's name, of the license key, or of an
    /// installation's name; or a whole hardware id. Empty for all.
    pub text: String,
    /// Only those with this decision of the vendor.
    pub status: Option<Status>,
    /// Only those whose end has passed at an instant, or only those whose end has not.
    pub ended: Option<(bool, DateTime<Utc>)>,
    /// Only those of this tier.
    pub tier: Option<String>,
    /// Only those that end at this instant at the latest …
    pub ends_by: Option<DateTime<Utc>>,
    /// … and after this one.
    pub ends_after: Option<DateTime<Utc>>,
    /// What comes first.
    pub sort: Sort,
    /// The other way round.
    pub reversed: bool,
}

impl Search {
    /// The same for licenses with this decision whose end has passed or not; `None` asks
    /// for both.
    #[must_use]
    pub fn called(self, status: Status, has_ended: Option<bool>, now: DateTime<Utc>) -> Self {
        Self {
            status: Some(status),
            ended: has_ended.map(|has_ended| (has_ended, now)),
            ..self
        }
    }
}

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// The newest.
    #[default]
    Created,
    /// What was changed last.
    Updated,
    /// Customers by their names.
    Customer,
    /// What ends first. What never ends comes last.
    Expires,
}

/// Licenses, from `offset` on, at most `most`.
///
/// # Errors
/// When the database refuses.
pub async fn list(
    db: &impl ConnectionTrait,
    search: &Search,
    offset: u64,
    most: u64,
) -> Result<Vec<License>, StoreError> {
    let column = match search.sort {
        Sort::Created => Column::CreatedAt,
        Sort::Updated => Column::UpdatedAt,
        Sort::Customer => Column::Customer,
        Sort::Expires => Column::ExpiresAt,
    };
    let is_ascending = matches!(search.sort, Sort::Customer | Sort::Expires);
    let order = match is_ascending != search.reversed {
        true => Order::Asc,
        false => Order::Desc,
    };
    let query = found(search);
    let query = match search.sort {
        Sort::Expires => query.order_by_with_nulls(column, order.clone(), NullOrdering::Last),
        _ => query.order_by(column, order.clone()),
    };
    let rows = query
        .order_by(Column::Id, order)
        .offset(std::cmp::min(offset, MAX_ROWS))
        .limit(std::cmp::min(most, MAX_LISTED))
        .all(db)
        .await?;
    rows.into_iter().map(License::try_from).collect()
}

/// No text in the table is longer, in characters.
const MAX_TEXT_CHARS: usize = 255;
/// Maximum number of licenses in one answer.
pub const MAX_LISTED: u64 = 10_000;

/// How many there are.
///
/// # Errors
/// When the database refuses.
pub async fn count(db: &impl ConnectionTrait, search: &Search) -> Result<u64, StoreError> {
    Ok(found(search).count(db).await?)
}

fn found(search: &Search) -> Select<Entity> {
    let mut query = Entity::find();
    if let Some(status) = search.status {
        query = query.filter(Column::Status.eq(status.as_str()));
    }
    match search.ended {
        Some((true, now)) => query = query.filter(Column::ExpiresAt.lt(now.naive_utc())),
        Some((false, now)) => {
            let later = Column::ExpiresAt.gte(now.naive_utc());
            query = query.filter(later.or(Column::ExpiresAt.is_null()));
        }
        None => {}
    }
    if let Some(tier) = &search.tier {
        query = query.filter(Column::Tier.eq(tier.replace('\0', "")));
    }
    if let Some(end) = search.ends_by {
        query = query.filter(Column::ExpiresAt.lte(end.naive_utc()));
    }
    if let Some(end) = search.ends_after {
        query = query.filter(Column::ExpiresAt.gt(end.naive_utc()));
    }
    // PostgreSQL takes no NUL, and no text here holds one.
    let text: String = search.text.trim().chars().take(MAX_TEXT_CHARS).collect();
    let text = text.replace('\0', "");
    // A whole key is searched for however it was pasted.
    let text = LicenseKey::parse(&text).map_or(text, |key| key.to_string());
    if text.is_empty() {
        return query;
    }
    // What a database makes of capitals depends on the engine and the locale.
    let matches = |column: Expr, text: &str| {
        ExprTrait::like(column, LikeExpr::new(containing(text)).escape('\\'))
    };
    let name = folded(&text);
    let at = Query::select()
        .column(seats::Column::LicenseId)
        .from(seats::Entity)
        .cond_where(
            Condition::any()
                .add(seats::Column::HardwareId.eq(text.as_str()))
                .add(matches(
                    Expr::col(seats::Column::InstallationNameFolded),
                    &name,
                )),
        )
        .to_owned();
    query.filter(
        Condition::any()
            .add(matches(Expr::col((Entity, Column::CustomerFolded)), &name))
            .add(matches(
                Expr::col((Entity, Column::LicenseKey)),
                &text.to_ascii_uppercase(),
            ))
            .add(Column::Id.in_subquery(at)),
    )
}

/// A pattern for texts that contain this one, with special characters escaped.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
