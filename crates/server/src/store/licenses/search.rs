//! The matching licenses, one page at a time.

use chrono::{DateTime, Utc};
use license_core::folded_text::folded;
use license_core::license_key::LicenseKey;
use license_core::license_state::{End, LicenseState, StateBounds};
use license_core::plan::PlanChoice;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, LikeExpr, NullOrdering, Query};
use sea_orm::{Condition, ConnectionTrait, EntityTrait, Order, QueryOrder as _, QuerySelect as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Column, Entity, License, Status};
use crate::store::page::{Page, PageStart, SortOrder, Storable};
use crate::store::page_bytes::page;
use crate::store::parts::in_parts;
use crate::store::{StoreError, seats};

/// Which licenses.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Part of the customer's name, of the license key, or of an installation's name; or a complete
    /// hardware id. Empty for all.
    pub text: String,
    /// Only those that are in this state at an instant.
    pub state: Option<(LicenseState, DateTime<Utc>)>,
    /// Only trial licenses, or only the others.
    pub trial: Option<bool>,
    /// Only those of this tier.
    pub tier: Option<String>,
    /// Only those of this plan, or of this version of it.
    pub plan: Option<PlanChoice>,
    /// Only those of the customer with this id.
    pub customer_id: Option<String>,
    /// Only those that end at this instant or before …
    pub expires_until: Option<DateTime<Utc>>,
    /// … and after this one.
    pub expires_after: Option<DateTime<Utc>>,
    /// What they are sorted by.
    pub sort: Sort,
    /// Default is [`Sort::default_order`].
    pub order: Option<SortOrder>,
}

impl Search {
    fn order(&self) -> SortOrder {
        self.order.unwrap_or(self.sort.default_order())
    }

    /// The position of a license in the list.
    #[must_use]
    pub fn cursor(&self, license: &License) -> LicensesCursor {
        LicensesCursor {
            place: match self.sort {
                Sort::CreatedAt => Place::CreatedAt(Storable::of_row(license.created_at)),
                Sort::UpdatedAt => Place::UpdatedAt(Storable::of_row(license.updated_at)),
                Sort::Customer => Place::Customer(license.customer.clone()),
                Sort::ExpiresAt => Place::ExpiresAt(license.expires_at.map(Storable::of_row)),
            },
            order: self.order(),
            id: license.id.clone(),
        }
    }

    /// Whether a position is one of this list, with the same sort and order.
    #[must_use]
    pub fn has(&self, cursor: &LicensesCursor) -> bool {
        cursor.order == self.order() && cursor.place.sort() == self.sort
    }
}

/// The field by which licenses are sorted, named as in responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LicensesSort)]
pub enum Sort {
    /// When they were issued.
    #[default]
    CreatedAt,
    /// When they were last changed.
    UpdatedAt,
    /// The customer's name.
    Customer,
    /// Their end. Licenses without an end are last in either order.
    ExpiresAt,
}

impl Sort {
    /// Newest first, soonest end first, or names in alphabetical order.
    #[must_use]
    pub fn default_order(self) -> SortOrder {
        match self {
            Self::CreatedAt | Self::UpdatedAt => SortOrder::Desc,
            Self::Customer | Self::ExpiresAt => SortOrder::Asc,
        }
    }

    fn column(self) -> Column {
        match self {
            Self::CreatedAt => Column::CreatedAt,
            Self::UpdatedAt => Column::UpdatedAt,
            Self::Customer => Column::Customer,
            Self::ExpiresAt => Column::ExpiresAt,
        }
    }
}

/// A position in a list of licenses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LicensesCursor {
    place: Place,
    order: SortOrder,
    id: String,
}

/// The value by which the license is sorted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum Place {
    CreatedAt(Storable<DateTime<Utc>>),
    UpdatedAt(Storable<DateTime<Utc>>),
    Customer(String),
    ExpiresAt(Option<Storable<DateTime<Utc>>>),
}

impl Place {
    fn sort(&self) -> Sort {
        match self {
            Self::CreatedAt(_) => Sort::CreatedAt,
            Self::UpdatedAt(_) => Sort::UpdatedAt,
            Self::Customer(_) => Sort::Customer,
            Self::ExpiresAt(_) => Sort::ExpiresAt,
        }
    }

    /// The value in the column; `None` for a license without an end.
    fn value(&self) -> Option<Value> {
        match self {
            Self::CreatedAt(at) | Self::UpdatedAt(at) => Some(at.get().naive_utc().into()),
            Self::Customer(name) => Some(name.clone().into()),
            Self::ExpiresAt(end) => end.map(|end| end.get().naive_utc().into()),
        }
    }
}

impl LicensesCursor {
    /// Which licenses are further down the list.
    fn later(&self) -> Condition {
        let column = self.place.sort().column();
        let later_id = beyond(Column::Id, self.order, self.id.clone());
        let Some(value) = self.place.value() else {
            return Condition::all().add(column.is_null()).add(later_id);
        };
        let later = Condition::all()
            .add(match self.order {
                SortOrder::Asc => column.gte(value.clone()),
                SortOrder::Desc => column.lte(value.clone()),
            })
            .add(beyond(column, self.order, value).or(later_id));
        match self.place {
            Place::ExpiresAt(_) => Condition::any().add(later).add(column.is_null()),
            _ => later,
        }
    }
}

fn beyond(column: Column, order: SortOrder, value: impl Into<Value>) -> Expr {
    match order {
        SortOrder::Asc => column.gt(value),
        SortOrder::Desc => column.lt(value),
    }
}

/// A page of licenses, at most `limit` and at most [`MAX_LISTED`].
///
/// # Errors
/// If the database returns an error.
pub async fn list(
    db: &impl ConnectionTrait,
    search: &Search,
    start: &PageStart<LicensesCursor>,
    limit: u64,
) -> Result<Page<License>, StoreError> {
    let mut query = sorted(search);
    if let Some(cursor) = start.after() {
        query = query.filter(cursor.later());
    }
    let query = query.offset(start.offset());
    let found = page(db, query, std::cmp::min(limit, MAX_LISTED)).await?;
    found.try_map(License::try_from)
}

/// The ids and the keys of the first licenses of a search, at most [`MAX_LISTED`].
///
/// # Errors
/// If the database returns an error.
pub async fn keys(
    db: &impl ConnectionTrait,
    search: &Search,
) -> Result<Vec<(String, String)>, StoreError> {
    let keys = sorted(search)
        .select_only()
        .columns([Column::Id, Column::LicenseKey])
        .limit(MAX_LISTED);
    Ok(keys.into_tuple().all(db).await?)
}

/// The key and the customer of a license.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedLicense {
    /// The id of the license.
    pub id: String,
    /// Its key, in canonical spelling.
    pub license_key: String,
    /// The name of the customer.
    pub customer: String,
}

/// The keys and the customers of the licenses with these ids, in any order.
///
/// # Errors
/// If the database returns an error.
pub async fn named(
    db: &impl ConnectionTrait,
    ids: Vec<String>,
) -> Result<Vec<NamedLicense>, StoreError> {
    let rows = in_parts(ids, |part| {
        let found = Entity::find().filter(part.has(Column::Id)).select_only();
        let found = found.columns([Column::Id, Column::LicenseKey, Column::Customer]);
        found.into_tuple().all(db)
    });
    let rows: Vec<(String, String, String)> = rows.await?;
    let named = rows
        .into_iter()
        .map(|(id, license_key, customer)| NamedLicense {
            id,
            license_key,
            customer,
        });
    Ok(named.collect())
}

fn sorted(search: &Search) -> Select<Entity> {
    let (column, order) = (search.sort.column(), Order::from(search.order()));
    let found = found(search);
    let found = match search.sort {
        Sort::ExpiresAt => found.order_by_with_nulls(column, order.clone(), NullOrdering::Last),
        _ => found.order_by(column, order.clone()),
    };
    found.order_by(Column::Id, order)
}

/// Maximum length of any text in the table, in characters.
const MAX_TEXT_CHARS: usize = 255;
/// Maximum number of licenses on one page.
pub const MAX_LISTED: u64 = 10_000;

/// How many there are.
///
/// # Errors
/// If the database returns an error.
pub async fn count(db: &impl ConnectionTrait, search: &Search) -> Result<u64, StoreError> {
    Ok(found(search).count(db).await?)
}

/// Whether there is any license.
///
/// # Errors
/// If the database returns an error.
pub async fn any(db: &impl ConnectionTrait) -> Result<bool, StoreError> {
    Ok(Entity::find()
        .select_only()
        .column(Column::Id)
        .into_tuple::<String>()
        .one(db)
        .await?
        .is_some())
}

fn found(search: &Search) -> Select<Entity> {
    let mut query = Entity::find();
    if let Some((state, now)) = search.state {
        query = query.filter(within(state.bounds(now)));
    }
    if let Some(trial) = search.trial {
        query = query.filter(Column::Trial.eq(trial));
    }
    if let Some(tier) = &search.tier {
        query = query.filter(Column::Tier.eq(tier.replace('\0', "")));
    }
    if let Some(plan) = &search.plan {
        query = query.filter(with_plan(plan));
    }
    if let Some(customer) = &search.customer_id {
        query = query.filter(Column::CustomerId.eq(customer));
    }
    if let Some(end) = search.expires_until {
        query = query.filter(Column::ExpiresAt.lte(end.naive_utc()));
    }
    if let Some(end) = search.expires_after {
        query = query.filter(Column::ExpiresAt.gt(end.naive_utc()));
    }
    // PostgreSQL does not accept NUL, and no text here contains one.
    let text: String = search.text.trim().chars().take(MAX_TEXT_CHARS).collect();
    let text = text.replace('\0', "");
    // A complete key is found in any spelling.
    let text = LicenseKey::parse(&text).map_or(text, |key| key.to_string());
    if text.is_empty() {
        return query;
    }
    // How a database converts to lower case depends on the engine and the locale.
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

/// Which licenses have a plan, or a version of it.
fn with_plan(plan: &PlanChoice) -> Expr {
    match plan.version {
        None => Column::Tier.eq(plan.name.as_str()),
        Some(version) => Column::Plan.eq(format!("{}@{version}", plan.name)),
    }
}

/// Which licenses are within bounds.
fn within(bounds: StateBounds) -> Condition {
    let mut all = Condition::all().add(Column::Status.eq(Status::of(bounds.decided).as_str()));
    if let Some((has_started, at)) = bounds.has_started {
        let at = at.naive_utc();
        all = all.add(match has_started {
            true => Column::StartsAt.lte(at).or(Column::StartsAt.is_null()),
            false => Column::StartsAt.gt(at),
        });
    }
    let end = Column::ExpiresAt;
    all.add_option(bounds.ends.map(|ends| match ends {
        End::Before(at) => end.lt(at.naive_utc()),
        End::From(at) => end.gte(at.naive_utc()).or(end.is_null()),
        End::After(at) => end.gt(at.naive_utc()).or(end.is_null()),
        End::Between(from, to) => end.between(from.naive_utc(), to.naive_utc()),
    }))
}

/// A pattern for texts that contain this one, with special characters escaped.
pub(in crate::store) fn containing(text: &str) -> String {
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
