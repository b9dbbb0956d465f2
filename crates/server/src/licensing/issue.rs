//! Issue a license.

use chrono::{DateTime, Utc};
use license_core::feature::{FeatureKey, FeatureKeyError};
use license_core::license_key::{LicenseKey, LicenseKeyError};
use uuid::Uuid;

use crate::licensing::catalogue::{Tier, UNLIMITED};
use crate::store::licenses::{self, License, Status};
use crate::store::{Store, StoreError};

/// What to issue: a tier, and what differs from it.
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// The tier.
    pub tier: Tier,
    /// Whose license it is.
    pub customer: String,
    /// Machines that may hold it at a time.
    pub seats: Option<u32>,
    /// -1 is unlimited.
    pub max_cameras: Option<i64>,
    /// -1 is unlimited.
    pub max_users: Option<i64>,
    /// In GB; -1 is unlimited.
    pub max_storage_gb: Option<i64>,
    /// Features besides the tier's.
    pub with: Vec<String>,
    /// Features of the tier to leave out.
    pub without: Vec<String>,
    /// The last instant at which the license may be used.
    pub expires_at: Option<DateTime<Utc>>,
    /// A key to use; otherwise one is made.
    pub key: Option<String>,
}

impl IssueRequest {
    /// A license of this tier as it is in the catalogue.
    #[must_use]
    pub fn of(tier: Tier) -> Self {
        Self {
            tier,
            customer: String::new(),
            seats: None,
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
    /// The key is not one of ours.
    #[error("--key: {0}")]
    Key(#[from] LicenseKeyError),
    /// There already is a license with this key.
    #[error("a license with the key {0} exists already")]
    Exists(String),
    /// A feature key that cannot be.
    #[error("'{key}' is no feature key: {error}")]
    Feature {
        /// Which one.
        key: String,
        /// Why.
        error: FeatureKeyError,
    },
    /// A feature that is not there to be left out.
    #[error("the tier has no feature '{0}' to leave out")]
    NotInTier(String),
    /// A limit below -1.
    #[error("{name} is {value}; accepted are 0 and more, and -1 for unlimited")]
    Limit {
        /// Which one.
        name: &'static str,
        /// What it is.
        value: i64,
    },
    /// No seats, or absurdly many.
    #[error("--seats is {0}; accepted are 1 to 1000000")]
    Seats(u32),
    /// The license would have expired before it is issued.
    #[error("the license would expire at {0}, which has passed")]
    Expired(DateTime<Utc>),
    /// The customer's name does not fit.
    #[error("--customer has at most 255 characters")]
    Customer,
    /// The operating system gives no randomness.
    #[error("the operating system gives no random bytes: {0}")]
    NoRandomness(getrandom::Error),
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Issues a license.
///
/// # Errors
/// One [`IssueError`] for each reason; nothing is issued then.
pub async fn issue(
    store: &Store,
    request: IssueRequest,
    now: DateTime<Utc>,
) -> Result<License, IssueError> {
    let key = match &request.key {
        Some(text) => LicenseKey::parse(text)?,
        None => random_key()?,
    };
    let license = license(request, &key, now)?;
    let transaction = store.begin().await?;
    if licenses::find(&transaction, key.as_str()).await?.is_some() {
        return Err(IssueError::Exists(key.to_string()));
    }
    licenses::insert(&transaction, &license).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    tracing::info!(license_key = ?key, tier = license.tier, "a license is issued");
    Ok(license)
}

fn license(
    request: IssueRequest,
    key: &LicenseKey,
    now: DateTime<Utc>,
) -> Result<License, IssueError> {
    let bundle = request.tier.bundle();
    let limit = |name, value: Option<i64>, default| {
        let value = value.unwrap_or(default);
        if value < UNLIMITED {
            return Err(IssueError::Limit { name, value });
        }
        Ok(value)
    };
    let seats = request.seats.unwrap_or(bundle.seats);
    if !(1..=1_000_000).contains(&seats) {
        return Err(IssueError::Seats(seats));
    }
    if request.customer.chars().count() > 255 || request.customer.contains('\0') {
        return Err(IssueError::Customer);
    }
    if let Some(end) = request.expires_at.filter(|end| *end <= now) {
        return Err(IssueError::Expired(end));
    }
    Ok(License {
        id: Uuid::new_v4().to_string(),
        license_key: key.to_string(),
        tier: bundle.name.to_owned(),
        max_cameras: limit("--max-cameras", request.max_cameras, bundle.max_cameras)?,
        max_users: limit("--max-users", request.max_users, bundle.max_users)?,
        max_storage_gb: limit(
            "--max-storage-gb",
            request.max_storage_gb,
            bundle.max_storage_gb,
        )?,
        features: features(bundle.features, &request.with, &request.without)?,
        customer: request.customer,
        seats,
        status: Status::Active,
        status_message: None,
        expires_at: request.expires_at,
        created_at: now,
        updated_at: now,
    })
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

/// More bytes than a key needs: some are passed over.
fn random_key() -> Result<LicenseKey, IssueError> {
    loop {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(IssueError::NoRandomness)?;
        if let Some(key) = LicenseKey::from_random(&bytes) {
            return Ok(key);
        }
    }
}
