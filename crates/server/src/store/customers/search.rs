//! The matching customers, one page at a time.

use chrono::{DateTime, Utc};
use license_core::folded_text::folded;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, LikeExpr};
use sea_orm::{Condition, ConnectionTrait, EntityTrait, Order, QueryOrder as _, QuerySelect as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Column, Customer, Entity};
use crate::store::StoreError;
use crate::store::licenses::containing;
use crate::store::page::{Page, PageStart, SortOrder, Storable};
use crate::store::page_bytes::page;

/// Maximum length of any text that is searched, in characters.
const MAX_TEXT_CHARS: usize = 255;

/// Which customers, and in what order.
#[derive(Clone, Debug, Default)]
pub struct CustomersSearch {
    /// Part of the name or the reference. Empty for all.
    pub text: String,
    /// Those that were merged into others, instead of those that were not.
    pub merged: bool,
    /// What they are sorted by.
    pub sort: CustomersSort,
    /// Default is [`CustomersSort::default_order`].
    pub order: Option<SortOrder>,
}

/// The field by which customers are sorted, named as in responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum CustomersSort {
    /// The name.
    #[default]
    Name,
    /// When they were created.
    CreatedAt,
    /// When they were last changed.
    UpdatedAt,
}

impl CustomersSort {
    /// Names in alphabetical order, or newest first.
    #[must_use]
    pub fn default_order(self) -> SortOrder {
        match self {
            Self::Name => SortOrder::Asc,
            Self::CreatedAt | Self::UpdatedAt => SortOrder::Desc,
        }
    }

    fn column(self) -> Column {
        match self {
            Self::Name => Column::Name,
            Self::CreatedAt => Column::CreatedAt,
            Self::UpdatedAt => Column::UpdatedAt,
        }
    }
}

/// A position in a list of customers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CustomersCursor {
    place: Place,
    order: SortOrder,
    id: String,
}

/// The value by which the customer is sorted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum Place {
    Name(String),
    CreatedAt(Storable<DateTime<Utc>>),
    UpdatedAt(Storable<DateTime<Utc>>),
}

impl CustomersSearch {
    fn order(&self) -> SortOrder {
        self.order.unwrap_or(self.sort.default_order())
    }

    /// The position of a customer in the list.
    #[must_use]
    pub fn cursor(&self, customer: &Customer) -> CustomersCursor {
        CustomersCursor {
            place: match self.sort {
                CustomersSort::Name => Place::Name(customer.name.clone()),
                CustomersSort::CreatedAt => Place::CreatedAt(Storable::of_row(customer.created_at)),
                CustomersSort::UpdatedAt => Place::UpdatedAt(Storable::of_row(customer.updated_at)),
            },
            order: self.order(),
            id: customer.id.clone(),
        }
    }

    /// Whether a position is one of this list, with the same sort and order.
    #[must_use]
    pub fn has(&self, cursor: &CustomersCursor) -> bool {
        let sort = match &cursor.place {
            Place::Name(_) => CustomersSort::Name,
            Place::CreatedAt(_) => CustomersSort::CreatedAt,
            Place::UpdatedAt(_) => CustomersSort::UpdatedAt,
        };
        cursor.order == self.order() && sort == self.sort
    }

    /// Which customers are further down the list.
    fn after(&self, cursor: &CustomersCursor) -> Condition {
        let column = self.sort.column();
        let value: Value = match &cursor.place {
            Place::Name(name) => name.clone().into(),
            Place::CreatedAt(at) | Place::UpdatedAt(at) => at.get().naive_utc().into(),
        };
        let beyond = |column: Column, value: Value| match cursor.order {
            SortOrder::Asc => column.gt(value),
            SortOrder::Desc => column.lt(value),
        };
        let same = column.eq(value.clone());
        let later = same.and(beyond(Column::Id, cursor.id.clone().into()));
        Condition::any().add(beyond(column, value)).add(later)
    }
}

/// A page of customers, at most `limit`.
///
/// # Errors
/// If the database returns an error, or a row cannot be read.
pub async fn list(
    db: &impl ConnectionTrait,
    search: &CustomersSearch,
    start: &PageStart<CustomersCursor>,
    limit: u64,
) -> Result<Page<Customer>, StoreError> {
    let order = Order::from(search.order());
    let mut query = found(search);
    if let Some(cursor) = start.after() {
        query = query.filter(search.after(cursor));
    }
    let query = query
        .order_by(search.sort.column(), order.clone())
        .order_by(Column::Id, order)
        .offset(start.offset());
    page(db, query, limit).await?.try_map(Customer::try_from)
}

/// A customer, as it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCustomer {
    /// The name.
    pub name: String,
    /// The vendor's own reference.
    pub reference: Option<String>,
}

/// The names of the first `most` customers of a search.
///
/// # Errors
/// If the database returns an error.
pub async fn named(
    db: &impl ConnectionTrait,
    search: &CustomersSearch,
    most: u64,
) -> Result<Vec<NamedCustomer>, StoreError> {
    let order = Order::from(search.order());
    let rows: Vec<(String, Option<String>)> = found(search)
        .select_only()
        .columns([Column::Name, Column::Reference])
        .order_by(search.sort.column(), order.clone())
        .order_by(Column::Id, order)
        .limit(most)
        .into_tuple()
        .all(db)
        .await?;
    let named = rows.into_iter();
    let named = named.map(|(name, reference)| NamedCustomer { name, reference });
    Ok(named.collect())
}

/// How many there are.
///
/// # Errors
/// If the database returns an error.
pub async fn count(db: &impl ConnectionTrait, search: &CustomersSearch) -> Result<u64, StoreError> {
    Ok(found(search).count(db).await?)
}

fn found(search: &CustomersSearch) -> Select<Entity> {
    let query = Entity::find().filter(match search.merged {
        true => Column::MergedInto.is_not_null(),
        false => Column::MergedInto.is_null(),
    });
    // PostgreSQL does not accept NUL, and no text here contains one.
    let text: String = search.text.trim().chars().take(MAX_TEXT_CHARS).collect();
    let text = text.replace('\0', "");
    if text.is_empty() {
        return query;
    }
    let matches = |column: Column, text: &str| {
        let pattern = LikeExpr::new(containing(text)).escape('\\');
        ExprTrait::like(Expr::col((Entity, column)), pattern)
    };
    query.filter(
        Condition::any()
            .add(matches(Column::NameFolded, &folded(&text)))
            .add(matches(Column::Reference, &text)),
    )
}
