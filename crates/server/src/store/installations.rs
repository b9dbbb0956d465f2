//! All held seats with the data of their licenses.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use futures_util::{Stream, TryStreamExt as _};
use license_core::entitlement::Quantity;
use license_core::feature::FeatureKey;
use license_core::fleet::Signed;
use license_core::usage::{Counts, Resource, Usage};
use sea_orm::entity::prelude::*;
use sea_orm::{
    Condition, ConnectionTrait, ExprTrait as _, FromQueryResult, JoinType, Order, QueryOrder as _,
    QuerySelect as _, QueryTrait as _, StreamTrait,
};
use serde::{Deserialize, Serialize};

use super::licenses::{self, Status};
use super::page::{PageStart, SortOrder, Storable};
use super::page_bytes::{bytes, fitting};
use super::{StoreError, seats};

/// One machine that holds a seat.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The license.
    pub license_id: String,
    /// Its key, in canonical spelling.
    pub license_key: String,
    /// The customer.
    pub customer: String,
    /// Whether it may be used …
    pub status: Status,
    /// … and until when.
    pub expires_at: Option<DateTime<Utc>>,
    /// The machine.
    pub hardware_id: String,
    /// The installation on it.
    pub installation_id: String,
    /// The display name.
    pub installation_name: String,
    /// The VMS's version.
    pub installation_version: String,
    /// When the machine last called.
    pub last_seen_at: DateTime<Utc>,
    /// The newest lease; `None` if the last call is older than the column.
    pub signed: Option<Signed>,
    /// The usage that it last reported.
    pub usage: Usage,
    /// How much of everything but cameras, users and storage its license grants.
    pub counts: BTreeMap<String, Quantity>,
    limits: [i64; 3],
    seat: i64,
}

/// A position in a list of installations, which are sorted by when they called last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstallationsCursor {
    last_seen_at: Storable<DateTime<Utc>>,
    seat: i64,
    order: SortOrder,
}

impl Installation {
    /// Its position in a list of this order.
    #[must_use]
    pub fn cursor(&self, order: SortOrder) -> InstallationsCursor {
        InstallationsCursor {
            last_seen_at: Storable::of_row(self.last_seen_at),
            seat: self.seat,
            order,
        }
    }

    /// Its place in the order in which seats were first taken.
    #[must_use]
    pub fn seat(&self) -> i64 {
        self.seat
    }

    /// The limits of its license for cameras, users and storage; negative means unlimited.
    #[must_use]
    pub fn limit(&self, resource: Resource) -> i64 {
        let [cameras, users, storage_gb] = self.limits;
        match resource {
            Resource::Cameras => cameras,
            Resource::Users => users,
            Resource::StorageGb => storage_gb,
        }
    }

    /// About how many bytes its texts have.
    #[must_use]
    pub fn bytes(&self) -> i64 {
        let texts = [
            &self.customer,
            &self.installation_name,
            &self.installation_version,
        ];
        let texts = texts.into_iter().map(String::len);
        let granted = self.counts.keys().map(String::len);
        let used = self.usage.counts.iter().map(|(key, _)| key.len());
        let bytes: usize = texts.chain(granted).chain(used).sum();
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }

    /// How much of something its license grants.
    #[must_use]
    pub fn granted(&self, key: &str) -> Quantity {
        match Resource::of(key) {
            Some(resource) => {
                let limit = u64::try_from(self.limit(resource));
                limit.map_or(Quantity::Unlimited, Quantity::Of)
            }
            None => self.counts.get(key).copied().unwrap_or(Quantity::Of(0)),
        }
    }
}

#[derive(FromQueryResult)]
struct Row {
    id: i64,
    license_id: String,
    license_key: String,
    customer: String,
    status: String,
    expires_at: Option<NaiveDateTime>,
    max_cameras: i64,
    max_users: i64,
    max_storage_gb: i64,
    counts: Option<Json>,
    hardware_id: String,
    installation_id: String,
    installation_name: String,
    installation_version: String,
    last_seen_at: NaiveDateTime,
    valid_until: Option<NaiveDateTime>,
    exp: Option<NaiveDateTime>,
    usage: Option<Json>,
}

/// The number of installations.
///
/// # Errors
/// If the database returns an error.
pub async fn count(db: &impl ConnectionTrait) -> Result<u64, StoreError> {
    let held = seats::Entity::find().filter(seats::Column::FreedAt.is_null());
    Ok(held.count(db).await?)
}

impl InstallationsCursor {
    /// Whether it is a position in a list of this order.
    #[must_use]
    pub fn is_of(&self, order: SortOrder) -> bool {
        self.order == order
    }

    /// Whether an installation is further down the list.
    #[must_use]
    pub fn is_before(&self, installation: &Installation) -> bool {
        let position = (self.last_seen_at.get(), self.seat);
        let other = (installation.last_seen_at, installation.seat);
        match self.order {
            SortOrder::Asc => other > position,
            SortOrder::Desc => other < position,
        }
    }

    /// Which installations are further down the list.
    fn later(&self) -> Condition {
        use seats::Column::{Id, LastSeenAt};
        let (at, seat) = (self.last_seen_at.get().naive_utc(), self.seat);
        match self.order {
            SortOrder::Asc => Condition::all()
                .add(LastSeenAt.gte(at))
                .add(LastSeenAt.gt(at).or(Id.gt(seat))),
            SortOrder::Desc => Condition::all()
                .add(LastSeenAt.lte(at))
                .add(LastSeenAt.lt(at).or(Id.lt(seat))),
        }
    }
}

/// Some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Where it begins.
    pub start: PageStart<InstallationsCursor>,
    /// Maximum number of installations.
    pub limit: u64,
}

/// Installations in the order in which their seats were first taken, after a seat, at most `most`, and no
/// more than fit on a page. No installation changes its place when it calls.
///
/// # Errors
/// If the database returns an error.
pub async fn in_order_of_seats(
    db: &impl ConnectionTrait,
    after: Option<i64>,
    most: u64,
) -> Result<Vec<Installation>, StoreError> {
    let mut held = held();
    if let Some(after) = after {
        held = held.filter(seats::Column::Id.gt(after));
    }
    let held = held.order_by_asc(seats::Column::Id);
    let bytes = [
        bytes(SEAT_COLUMNS.into_iter()),
        bytes(LICENSE_COLUMNS.into_iter()),
    ];
    let (size, _) = fitting(db, held.clone(), &bytes.join(" + "), most).await?;
    let rows = held.limit(size).into_model::<Row>().all(db).await?;
    rows.into_iter().map(Installation::try_from).collect()
}

const SEAT_COLUMNS: [seats::Column; 10] = {
    use seats::Column as Seat;
    [
        Seat::Id,
        Seat::LicenseId,
        Seat::HardwareId,
        Seat::InstallationId,
        Seat::InstallationName,
        Seat::InstallationVersion,
        Seat::LastSeenAt,
        Seat::ValidUntil,
        Seat::Exp,
        Seat::Usage,
    ]
};

const LICENSE_COLUMNS: [licenses::Column; 8] = {
    use licenses::Column as License;
    [
        License::LicenseKey,
        License::Customer,
        License::Status,
        License::ExpiresAt,
        License::MaxCameras,
        License::MaxUsers,
        License::MaxStorageGb,
        License::Counts,
    ]
};

/// The columns of held seats and of their licenses.
fn held() -> Select<seats::Entity> {
    seats::Entity::find()
        .select_only()
        .columns(SEAT_COLUMNS)
        .columns(LICENSE_COLUMNS)
        .join(JoinType::InnerJoin, seats::Relation::License.def())
        .filter(seats::Column::FreedAt.is_null())
}

/// Installations, sorted by when they called last, one after the other: those in the window, or
/// all.
///
/// # Errors
/// If the database returns an error, at the start or in between.
pub async fn all<C: ConnectionTrait + StreamTrait>(
    db: &C,
    order: SortOrder,
    window: Option<Window>,
) -> Result<impl Stream<Item = Result<Installation, StoreError>> + '_, StoreError> {
    use seats::Column as Seat;
    let order = Order::from(order);
    let rows = held()
        .order_by(Seat::LastSeenAt, order.clone())
        .order_by(Seat::Id, order)
        .apply_if(window, |mut rows, Window { start, limit }| {
            if let Some(cursor) = start.after() {
                rows = rows.filter(cursor.later());
            }
            rows.offset(start.offset()).limit(limit)
        })
        .into_model::<Row>()
        .stream(db)
        .await?;
    Ok(rows
        .map_err(StoreError::from)
        .and_then(|row| std::future::ready(Installation::try_from(row))))
}

impl TryFrom<Row> for Installation {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let utc = |time: Option<NaiveDateTime>| time.map(|time| time.and_utc());
        let signed = utc(row.valid_until).zip(utc(row.exp));
        Ok(Self {
            license_id: row.license_id,
            license_key: row.license_key,
            customer: row.customer,
            status: row.status.parse()?,
            expires_at: utc(row.expires_at),
            hardware_id: row.hardware_id,
            installation_id: row.installation_id,
            installation_name: row.installation_name,
            installation_version: row.installation_version,
            last_seen_at: row.last_seen_at.and_utc(),
            signed: signed.map(|(valid_until, exp)| Signed { valid_until, exp }),
            usage: reported(row.usage),
            counts: licenses::counts_of(row.counts)?,
            seat: row.id,
            limits: [row.max_cameras, row.max_users, row.max_storage_gb],
        })
    }
}

/// The report of a heartbeat, as seats store it and responses show it. `null` is unknown.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct StoredUsage {
    cameras_in_use: Option<u64>,
    users_active: Option<u64>,
    storage_used_gb: Option<u64>,
    /// Everything else that is counted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    counts: BTreeMap<String, u64>,
}

/// The report of the newest heartbeat.
#[must_use]
pub fn reported(usage: Option<Json>) -> Usage {
    let stored = usage.and_then(|it| serde_json::from_value::<StoredUsage>(it).ok());
    let stored = stored.unwrap_or_default();
    Usage {
        cameras: stored.cameras_in_use,
        users: stored.users_active,
        storage_gb: stored.storage_used_gb,
        counts: counts_of(stored.counts),
    }
}

/// The value of the column for a report.
#[must_use]
pub fn usage_json(usage: &Usage) -> Json {
    let counts = usage.counts.iter();
    let stored = StoredUsage {
        cameras_in_use: usage.cameras,
        users_active: usage.users,
        storage_used_gb: usage.storage_gb,
        counts: counts
            .map(|(key, amount)| (key.to_owned(), amount))
            .collect(),
    };
    serde_json::to_value(stored).unwrap_or_default()
}

/// Amounts by key, as far as the keys can be a license's.
pub(super) fn counts_of(stored: BTreeMap<String, u64>) -> Counts {
    let stored = stored.into_iter();
    let counts = stored.filter_map(|(key, amount)| Some((FeatureKey::parse(&key).ok()?, amount)));
    counts.collect()
}
