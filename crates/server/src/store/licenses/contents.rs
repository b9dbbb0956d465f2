//! A license's row holds what its amendments add up to, so that it can be listed and searched.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use license_core::amendment::{
    Amendment, Change, Contents, UpdateRule, contents, holds_until, judged_at, listed,
};
use license_core::calendar_duration::CalendarDuration;
use license_core::entitlement::{Entitlement, Grant, Granted, Period, Quantity};
use license_core::feature::FeatureKey;
use license_core::plan::LicenseEnd;
use license_core::plausible_time::PlausibleTime;
use license_core::usage::Resource;
use sea_orm::prelude::Json;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

use super::{License, Status};
use crate::store::StoreError;

/// No limit, in the columns.
const UNLIMITED: i64 = -1;

impl License {
    /// A license that begins with this amendment.
    #[must_use]
    pub fn issued(id: String, license_key: String, first: &Amendment, now: DateTime<Utc>) -> Self {
        let blank = Self {
            id,
            license_key,
            customer: String::new(),
            customer_id: None,
            tier: String::new(),
            plan: String::new(),
            trial: false,
            amendment: 0,
            is_plain: false,
            changes_at: None,
            judged_at: None,
            features: Vec::new(),
            max_cameras: 0,
            max_users: 0,
            max_storage_gb: 0,
            counts: BTreeMap::new(),
            seats: 0,
            moves: 0,
            moves_period_days: 0,
            lease_hours: None,
            grace_hours: None,
            offline_days: None,
            updates_until: None,
            updates: UpdateRule::Warn,
            status: Status::Active,
            status_message: None,
            starts_at: None,
            expires_at: None,
            lasts_from_activation: None,
            requires_proof: false,
            created_at: now,
            updated_at: now,
        };
        blank.amended(std::slice::from_ref(first), now)
    }

    /// When it ends.
    #[must_use]
    pub fn end(&self) -> LicenseEnd {
        match self.lasts_from_activation {
            Some(duration) => LicenseEnd::AfterActivation(duration),
            None => LicenseEnd::At(self.expires_at),
        }
    }

    /// The entitlements in the columns.
    fn plain_entitlements(&self) -> Vec<Entitlement> {
        let features = self.features.iter();
        let features = features.filter_map(|key| FeatureKey::parse(key).ok());
        let counts = [
            (Resource::Cameras, self.max_cameras),
            (Resource::Users, self.max_users),
            (Resource::StorageGb, self.max_storage_gb),
        ];
        let counts = counts.into_iter().filter_map(|(resource, limit)| {
            let key = FeatureKey::parse(resource.as_str()).ok()?;
            let quantity = u64::try_from(limit).map_or(Quantity::Unlimited, Quantity::Of);
            Some(Entitlement::count(key, quantity))
        });
        features.map(Entitlement::feature).chain(counts).collect()
    }

    /// The same license with what is in force at `now` of its amendments, which are all of them,
    /// in the order of their numbers. The name of another customer than before is missing (see
    /// [`with_customer`](super::with_customer)), and whether another plan than before is for trying
    /// the product out (see [`with_plan`](super::with_plan)).
    #[must_use]
    pub(in crate::store) fn amended(self, amendments: &[Amendment], now: DateTime<Utc>) -> Self {
        let Some(newest) = amendments.last() else {
            return self;
        };
        let at = judged_at(amendments, now);
        let contents = contents(amendments, at);
        let last = holds_until(amendments, &contents, at);
        let mut license = self.consisting_of(contents, at);
        in_order_of_grants(&mut license.features, amendments);
        Self {
            amendment: newest.number,
            is_plain: last.is_none() && is_plain(amendments, at),
            changes_at: last.and_then(following),
            judged_at: Some(now.trunc_subsecs(6)),
            ..license
        }
    }

    /// The same license with what is in force at `at` of these contents. What is missing is the same
    /// as after [`Self::amended`].
    pub(super) fn consisting_of(self, contents: Contents, at: DateTime<Utc>) -> Self {
        let sold = contents.sold();
        let Contents {
            plan,
            customer,
            starts_at,
            expires_at,
            lasts,
            terms,
            ..
        } = contents;
        let features = sold.features().map(FeatureKey::as_str);
        let features = features
            .filter(|key| sold.feature(key, PlausibleTime::exact(at)) == Grant::InForce)
            .map(str::to_owned);
        let customer_id = Some(customer).filter(|id| !id.is_empty());
        Self {
            tier: plan.as_ref().map_or_else(String::new, |it| it.name.clone()),
            plan: plan.map_or_else(String::new, |it| it.to_string()),
            customer: match customer_id == self.customer_id {
                true => self.customer,
                false => String::new(),
            },
            customer_id,
            features: features.collect(),
            max_cameras: limit(&sold, Resource::Cameras, at),
            max_users: limit(&sold, Resource::Users, at),
            max_storage_gb: limit(&sold, Resource::StorageGb, at),
            counts: other_counts(&sold, at),
            seats: terms.seats,
            moves: terms.moves,
            moves_period_days: terms.moves_period_days,
            lease_hours: terms.lease_hours,
            grace_hours: terms.grace_hours,
            offline_days: terms.offline_days,
            updates_until: terms.updates_until,
            updates: terms.updates,
            starts_at,
            expires_at,
            lasts_from_activation: lasts,
            ..self
        }
    }

    /// How much is in force of something that is counted.
    #[must_use]
    pub fn granted(&self, key: &str) -> Quantity {
        let limit = match Resource::of(key) {
            Some(Resource::Cameras) => self.max_cameras,
            Some(Resource::Users) => self.max_users,
            Some(Resource::StorageGb) => self.max_storage_gb,
            None => return self.counts.get(key).copied().unwrap_or(Quantity::Of(0)),
        };
        u64::try_from(limit).map_or(Quantity::Unlimited, Quantity::Of)
    }

    /// Whether it is at `now` what it says, without computing it from its amendments: it was judged
    /// no later, and nothing has changed since then.
    #[must_use]
    pub fn is_current(&self, now: DateTime<Utc>) -> bool {
        self.was_judged_by(now) && self.changes_at.is_none_or(|at| now < at)
    }

    /// Whether it was judged at `now` or earlier, or is the same at all times.
    #[must_use]
    pub fn was_judged_by(&self, now: DateTime<Utc>) -> bool {
        self.judged_at.is_none_or(|at| at <= now)
    }

    /// The last instant at which it stays what it is; `None` if nothing else is scheduled.
    #[must_use]
    pub fn holds_until(&self) -> Option<DateTime<Utc>> {
        self.changes_at?
            .checked_sub_signed(TimeDelta::microseconds(1))
    }

    /// What its documents list as granted from `now` on: with the amendments if it is not plain.
    #[must_use]
    pub fn entitlements(&self, amendments: &[Amendment], now: DateTime<Utc>) -> Vec<Entitlement> {
        match self.is_plain {
            true => self.plain_entitlements(),
            false => listed(amendments, judged_at(amendments, now)),
        }
    }
}

/// The first instant in microseconds, as databases store them, after another one.
fn following(last: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let next = last.checked_add_signed(TimeDelta::microseconds(1))?;
    Some(next.trunc_subsecs(6))
}

/// Whether the columns say all that is granted, if nothing changes on its own.
fn is_plain(amendments: &[Amendment], at: DateTime<Utc>) -> bool {
    let has_column = |key: &FeatureKey| Resource::of(key.as_str()).is_some();
    listed(amendments, at)
        .iter()
        .all(|it| it.period == Period::ALWAYS && (it.quantity.is_none() || has_column(&it.key)))
}

fn limit(sold: &Granted, resource: Resource, at: DateTime<Utc>) -> i64 {
    match sold.count(resource.as_str(), PlausibleTime::exact(at)) {
        None => 0,
        Some(Quantity::Unlimited) => UNLIMITED,
        Some(Quantity::Of(number)) => i64::try_from(number).unwrap_or(i64::MAX),
    }
}

/// What is in force of everything that has no column.
fn other_counts(sold: &Granted, at: DateTime<Utc>) -> BTreeMap<String, Quantity> {
    let others = sold.counted().map(FeatureKey::as_str);
    let others = others.filter(|key| Resource::of(key).is_none());
    let counted = others.filter_map(|key| {
        let quantity = sold.count(key, PlausibleTime::exact(at))?;
        Some((key.to_owned(), quantity))
    });
    counted.collect()
}

/// `None` for an empty value: most licenses count nothing else.
pub(super) fn counts_column(counts: &BTreeMap<String, Quantity>) -> Option<Json> {
    let counts = Some(counts).filter(|counts| !counts.is_empty());
    counts.and_then(|counts| serde_json::to_value(counts).ok())
}

/// The value in the column.
///
/// # Errors
/// If it is not one that this program writes.
pub(in crate::store) fn counts_of(
    column: Option<Json>,
) -> Result<BTreeMap<String, Quantity>, StoreError> {
    let Some(counts) = column else {
        return Ok(BTreeMap::new());
    };
    serde_json::from_value(counts.clone()).map_err(|_| StoreError::Value {
        column: "licenses.counts",
        value: counts.to_string(),
    })
}

/// The value in the column.
///
/// # Errors
/// If it is not one that this program writes.
pub(super) fn duration_of(column: Option<String>) -> Result<Option<CalendarDuration>, StoreError> {
    let parsed = column.map(|text| {
        let duration = text.parse().ok();
        duration.ok_or(StoreError::Value {
            column: "licenses.lasts_from_activation",
            value: text,
        })
    });
    parsed.transpose()
}

/// The schema of quantities by key: numbers, or `unlimited`.
#[must_use]
pub fn counts_schema() -> ObjectBuilder {
    let number = ObjectBuilder::new().schema_type(Type::Integer);
    let unlimited = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["unlimited"]));
    let quantity = OneOfBuilder::new()
        .item(number.minimum(Some(0)).maximum(Some(u64::MAX)))
        .item(unlimited);
    let description = "The quantity of each other counted item, by its key: a number, or \
        `unlimited`";
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(description))
        .additional_properties(Some(Schema::OneOf(quantity.build())))
}

/// Sorts features as they were first granted.
fn in_order_of_grants(features: &mut [String], amendments: &[Amendment]) {
    let changes = amendments.iter().flat_map(|it| &it.changes);
    let granted = changes.filter_map(|change| match change {
        Change::Grant(entitlement) => Some(entitlement.key.as_str()),
        _ => None,
    });
    let mut places = std::collections::HashMap::new();
    for (place, key) in granted.enumerate() {
        places.entry(key).or_insert(place);
    }
    features.sort_by_key(|key| places.get(key.as_str()).copied());
}
