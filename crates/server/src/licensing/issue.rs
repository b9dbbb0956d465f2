//! Issue a license.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, SubsecRound as _, Timelike as _, Utc};
use license_core::feature::{FeatureKey, FeatureKeyError, is_core, is_sold};
use license_core::license_key::{LicenseKey, LicenseKeyError, mask};
use license_core::seat::{
    DEFAULT_MOVES, DEFAULT_MOVES_PERIOD_DAYS, MAX_MOVES, MAX_MOVES_PERIOD_DAYS, MAX_SEATS,
};
use license_service::database::repeated;
use serde_json::json;
use uuid::Uuid;

use crate::audit::{Action, Change};
use crate::licensing::catalogue::{Tier, UNLIMITED};
use crate::licensing::document_size::{TooLong, check_size};
use crate::store::licenses::{self, License, Status};
use crate::store::{Store, StoreError, amendments};

/// Maximum length of a customer's name, in characters: the width of its column.
pub const MAX_CUSTOMER_CHARS: usize = 255;

/// The license to issue: a tier, and the differences from it.
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// The tier.
    pub tier: Tier,
    /// The customer.
    pub customer: String,
    /// Maximum number of machines at the same time.
    pub seats: Option<u32>,
    /// How many times in a period a seat may move while the old machine's lease is still valid.
    pub moves: Option<u32>,
    /// Length of that period in days.
    pub moves_period_days: Option<u32>,
    /// Maximum number of cameras; -1 is unlimited.
    pub max_cameras: Option<i64>,
    /// Maximum number of users; -1 is unlimited.
    pub max_users: Option<i64>,
    /// Maximum storage in GB; -1 is unlimited.
    pub max_storage_gb: Option<i64>,
    /// Features in addition to the tier's.
    pub with: Vec<String>,
    /// Features of the tier to exclude.
    pub without: Vec<String>,
    /// The last instant at which the license may be used.
    pub expires_at: Option<DateTime<Utc>>,
    /// A key to use; otherwise a new one is generated.
    pub key: Option<String>,
}

impl IssueRequest {
    /// A license of this tier, unmodified from the catalogue.
    #[must_use]
    pub fn of(tier: Tier) -> Self {
        Self {
            tier,
            customer: String::new(),
            seats: None,
            moves: None,
            moves_period_days: None,
            max_cameras: None,
            max_users: None,
            max_storage_gb: None,
            with: Vec::new(),
            without: Vec::new(),
            expires_at: None,
            key: None,
        }
    }
}

/// Why a license was not issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The key does not have our format.
    #[error(transparent)]
    Key(#[from] LicenseKeyError),
    /// There already is a license with this key.
    #[error("a license with the key {0} already exists")]
    Exists(String),
    /// An invalid feature key.
    #[error("'{key}' is not a feature key: {error}")]
    Feature {
        /// The feature key.
        key: String,
        /// The reason.
        error: FeatureKeyError,
    },
    /// A feature to remove that the tier does not have.
    #[error("the tier has no feature '{0}' to remove")]
    NotInTier(String),
    /// A limit is below -1.
    #[error("{name} is {value}; expected 0 or more, or -1 for unlimited")]
    Limit {
        /// The name of the limit.
        name: &'static str,
        /// The value.
        value: i64,
    },
    /// The number of seats is 0 or too large.
    #[error("invalid number of seats {0}; expected 1 to {MAX_SEATS}")]
    Seats(u32),
    /// The number of moves is too large.
    #[error("invalid number of moves {0}; expected 0 to {MAX_MOVES}")]
    Moves(u32),
    /// The period of moves is 0 or too long.
    #[error("invalid period of {0} days for moves; expected 1 to {MAX_MOVES_PERIOD_DAYS}")]
    MovesPeriod(u32),
    /// The end is invalid.
    #[error(transparent)]
    Expiry(#[from] ExpiryError),
    /// The customer's name is too long.
    #[error("the customer's name is limited to {MAX_CUSTOMER_CHARS} characters")]
    Customer,
    /// No site could read the license's documents.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The operating system returned no random bytes.
    #[error("the operating system returned no random bytes: {0}")]
    NoRandomness(getrandom::Error),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a license cannot end at a given instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpiryError {
    /// The end has already passed.
    #[error("the license would expire at {0}, which has passed")]
    Passed(DateTime<Utc>),
    /// Programs write years with four digits (RFC 3339, section 1).
    #[error(
        "the license would expire after the year 9999; omit the end date for a license that never \
         expires"
    )]
    TooFar,
}

/// Parses an instant or a day; a day means its end.
#[must_use]
pub fn end_of(text: &str) -> Option<DateTime<Utc>> {
    instant_of(text, NaiveTime::from_hms_opt(23, 59, 59)?)
}

/// Parses an instant or a day; a day means its beginning.
#[must_use]
pub fn start_of(text: &str) -> Option<DateTime<Utc>> {
    instant_of(text, NaiveTime::MIN)
}

/// Parses an instant, or a day with this time.
fn instant_of(text: &str, time_of_day: NaiveTime) -> Option<DateTime<Utc>> {
    let day = text.parse::<NaiveDate>().ok();
    day.map(|day| day.and_time(time_of_day).and_utc())
        .or_else(|| text.parse().ok())
        // Databases and documents support years with four digits, and no leap seconds.
        .filter(|end: &DateTime<Utc>| (1..=9999).contains(&end.year()))
        .filter(|end| end.nanosecond() < 1_000_000_000)
        .map(|end| end.trunc_subsecs(0))
}

/// Checks whether a license may end at an instant, or never.
///
/// # Errors
/// One [`ExpiryError`] for each reason that it may not.
pub fn check_expiry(
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), ExpiryError> {
    match expires_at {
        Some(end) if end <= now => Err(ExpiryError::Passed(end)),
        Some(end) if end.year() > 9999 => Err(ExpiryError::TooFar),
        _ => Ok(()),
    }
}

/// Issues a license.
///
/// # Errors
/// One [`IssueError`] for each reason; nothing is issued then.
pub async fn issue(
    store: &Store,
    request: IssueRequest,
    change: &Change,
) -> Result<License, IssueError> {
    let license = draft(request, change.at)?;
    repeated(|| add(store, license.clone(), change)).await
}

async fn add(store: &Store, license: License, change: &Change) -> Result<License, IssueError> {
    let transaction = store.begin().await?;
    let known = licenses::find(&transaction, &license.license_key).await?;
    if known.is_some() {
        return Err(IssueError::Exists(license.license_key));
    }
    if let Err(error) = licenses::insert(&transaction, &license).await {
        return Err(if error.is_taken() {
            // Another call has issued it at the same time.
            IssueError::Exists(license.license_key)
        } else {
            error.into()
        });
    }
    let issued = license.issued(change.by.to_string());
    amendments::insert(&transaction, &license.id, &issued).await?;
    let details = json!({
        "tier": license.tier,
        "customer": license.customer,
        "features": license.features,
        "maxCameras": license.max_cameras,
        "maxUsers": license.max_users,
        "maxStorageGb": license.max_storage_gb,
        "seats": license.seats,
        "moves": license.moves,
        "movesPeriodDays": license.moves_period_days,
        "expiresAt": license.expires_at,
    });
    change
        .note(&transaction, Action::Issued, &license, details)
        .await?;
    transaction.commit().await.map_err(StoreError::from)?;
    let license_key = mask(&license.license_key);
    tracing::info!(license_key, tier = license.tier, "license issued");
    Ok(license)
}

/// The license that would be issued, with its key.
///
/// # Errors
/// As [`issue`], for all that is wrong with the request itself.
pub fn draft(request: IssueRequest, now: DateTime<Utc>) -> Result<License, IssueError> {
    let key = match &request.key {
        Some(text) => LicenseKey::parse(text)?,
        None => random_key()?,
    };
    let bundle = request.tier.bundle();
    let limit = |name, value: Option<i64>, default| {
        let value = value.unwrap_or(default);
        if value < UNLIMITED {
            return Err(IssueError::Limit { name, value });
        }
        Ok(value)
    };
    let seats = request.seats.unwrap_or(bundle.seats);
    if !(1..=MAX_SEATS).contains(&seats) {
        return Err(IssueError::Seats(seats));
    }
    let moves = request.moves.unwrap_or(DEFAULT_MOVES);
    if moves > MAX_MOVES {
        return Err(IssueError::Moves(moves));
    }
    let moves_period_days = request
        .moves_period_days
        .unwrap_or(DEFAULT_MOVES_PERIOD_DAYS);
    if !(1..=MAX_MOVES_PERIOD_DAYS).contains(&moves_period_days) {
        return Err(IssueError::MovesPeriod(moves_period_days));
    }
    if request.customer.chars().count() > MAX_CUSTOMER_CHARS || request.customer.contains('\0') {
        return Err(IssueError::Customer);
    }
    check_expiry(request.expires_at, now)?;
    let license = License {
        id: Uuid::new_v4().to_string(),
        license_key: key.to_string(),
        tier: bundle.name.to_owned(),
        plan: format!("{}@1", bundle.name),
        amendment: 1,
        is_plain: true,
        changes_at: None,
        max_cameras: limit("the camera limit", request.max_cameras, bundle.max_cameras)?,
        max_users: limit("the user limit", request.max_users, bundle.max_users)?,
        max_storage_gb: limit(
            "the storage limit",
            request.max_storage_gb,
            bundle.max_storage_gb,
        )?,
        features: features(bundle.features, &request.with, &request.without)?,
        customer: request.customer,
        seats,
        moves,
        moves_period_days,
        status: Status::Active,
        status_message: None,
        expires_at: request.expires_at,
        created_at: now,
        updated_at: now,
    };
    check_size(&license, &[], now)?;
    Ok(license)
}

fn features(tier: &[&str], with: &[String], without: &[String]) -> Result<Vec<String>, IssueError> {
    if let Some(missing) = without.iter().find(|key| !tier.contains(&key.as_str())) {
        return Err(IssueError::NotInTier(missing.clone()));
    }
    let mut features: Vec<String> = tier
        .iter()
        .map(|key| (*key).to_owned())
        .filter(|key| !without.contains(key))
        .collect();
    for key in with {
        FeatureKey::parse(key).map_err(|error| IssueError::Feature {
            key: key.clone(),
            error,
        })?;
        if !features.contains(key) {
            features.push(key.clone());
        }
    }
    Ok(features)
}

/// Features of a license that this release of the product does not have: features of another
/// release, or typing errors.
#[must_use]
pub fn unknown_features(license: &License) -> Vec<&str> {
    let keys = license.features.iter().map(String::as_str);
    keys.filter(|key| !is_core(key) && !is_sold(key)).collect()
}

/// More bytes than a key needs, because some are skipped.
fn random_key() -> Result<LicenseKey, IssueError> {
    loop {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(IssueError::NoRandomness)?;
        if let Some(key) = LicenseKey::from_random(&bytes) {
            return Ok(key);
        }
    }
}
