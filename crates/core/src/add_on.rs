//! Add-ons: what an add-on key adds to a license, once.
//!
//! Redeeming a key is an amendment of the license that grants what the key was sold for. The same
//! license may redeem it again, which changes nothing; a refund undoes exactly that amendment, unless
//! it is undone already ([`crate::amendment::is_undone_from`]).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::amendment::{self, Amendment, Change, MAX_CHANGES};
use crate::calendar_duration::{CalendarDuration, EndsTooLate};
use crate::catalogue::Catalogue;
use crate::entitlement::{Entitlement, Period, Quantity};
use crate::feature::FeatureKey;
use crate::plan::PlanEntitlement;

/// Maximum number of things that an add-on key grants.
pub const MAX_ADD_ON_GRANTS: usize = 100;
const _: () = assert!(MAX_ADD_ON_GRANTS < MAX_CHANGES);

/// One thing that an add-on key grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddOnGrant {
    /// The feature, or what is counted.
    pub key: String,
    /// How much; `None` for a feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Quantity>,
    /// The first instant; `None` if it begins when the key is redeemed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// The last instant; `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// For how long after its beginning; `None` if that does not matter.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<CalendarDuration>,
}

/// The key has an invalid field: its name, as in JSON, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {field}: {why}")]
pub struct InvalidAddOn {
    /// The field.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

/// A plan grants the same as an add-on.
impl From<&PlanEntitlement> for AddOnGrant {
    fn from(granted: &PlanEntitlement) -> Self {
        Self {
            key: granted.key.clone(),
            quantity: granted.quantity,
            from: None,
            until: None,
            duration: granted.duration,
        }
    }
}

/// Checks what an add-on key that is issued at `now` is to grant.
///
/// # Errors
/// [`InvalidAddOn`] for the first field that is not accepted.
pub fn check_grants(
    grants: &[AddOnGrant],
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Result<(), InvalidAddOn> {
    let invalid = |field: String, why: String| InvalidAddOn { field, why };
    if grants.is_empty() || grants.len() > MAX_ADD_ON_GRANTS {
        let why = format!("an add-on key must grant 1 to {MAX_ADD_ON_GRANTS} entitlements");
        return Err(invalid("add".to_owned(), why));
    }
    for (place, grant) in grants.iter().enumerate() {
        let field = |name: &str| format!("add[{place}].{name}");
        if let Err(error) = FeatureKey::parse(&grant.key) {
            let why = format!("'{}' is not a feature key: {error}", grant.key);
            return Err(invalid(field("key"), why));
        }
        catalogue
            .check(&grant.key, grant.quantity)
            .map_err(|error| invalid(field(error.field()), error.to_string()))?;
        if let Some(until) = grant.until.filter(|until| *until < grant.begins(now)) {
            let why = format!("the end {until} is before the start {}", grant.begins(now));
            return Err(invalid(field("until"), why));
        }
        grant
            .period(now)
            .map_err(|error| invalid(field("for"), error.to_string()))?;
    }
    Ok(())
}

impl AddOnGrant {
    /// When it begins, if its key is redeemed at `at`.
    fn begins(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        self.from.map_or(at, |from| from.max(at))
    }

    /// When it is in force, if its key is redeemed at `at`.
    fn period(&self, at: DateTime<Utc>) -> Result<Period, EndsTooLate> {
        let duration = self.duration.map(|it| it.last_second_from(self.begins(at)));
        let ends = [self.until, duration.transpose()?];
        Ok(Period {
            from: self.from.filter(|from| at < *from),
            until: ends.into_iter().flatten().min(),
        })
    }
}

/// The amendment that a key became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redemption {
    /// The id of the license.
    pub license: String,
    /// The number of the amendment.
    pub amendment: u32,
}

/// An add-on key, as far as it decides whether it may be redeemed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddOn {
    /// What it grants.
    pub grants: Vec<AddOnGrant>,
    /// The last instant at which it may be redeemed; `None` if it has no end.
    pub redeem_by: Option<DateTime<Utc>>,
    /// The amendment that it became.
    pub redeemed: Option<Redemption>,
    /// Whether it was refunded.
    pub is_refunded: bool,
}

/// What redeeming a key means for a license.
#[derive(Clone, Debug, PartialEq)]
pub enum Redeem {
    /// The license is amended.
    Amend(Vec<Change>),
    /// The license was amended already when the key was first redeemed.
    Again {
        /// The number of that amendment.
        amendment: u32,
    },
}

/// Why a key may not be redeemed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedeemRefusal {
    /// Another license has it.
    #[error("the add-on key was already redeemed for another license")]
    Elsewhere,
    /// It was refunded.
    #[error("the add-on key was refunded")]
    Refunded,
    /// It had to be redeemed earlier.
    #[error("the add-on key could be redeemed only until \
        {}", .redeem_by.format("%Y-%m-%d %H:%M:%S UTC"))]
    TooLate {
        /// The last instant at which it could be redeemed.
        redeem_by: DateTime<Utc>,
    },
    /// All that it grants has ended.
    #[error("the last entitlement of the add-on key ended at \
        {}", .until.format("%Y-%m-%d %H:%M:%S UTC"))]
    Ended {
        /// The last end.
        until: DateTime<Utc>,
    },
    /// Something would end too late.
    #[error(transparent)]
    EndsTooLate(#[from] EndsTooLate),
}

impl AddOn {
    /// What it means for the license with this id, which has its first instant at `starts_at`, that
    /// the key is redeemed at `at`, in whole seconds.
    ///
    /// # Errors
    /// The first [`RedeemRefusal`] that applies.
    pub fn redeem(
        &self,
        license: &str,
        starts_at: Option<DateTime<Utc>>,
        at: DateTime<Utc>,
    ) -> Result<Redeem, RedeemRefusal> {
        if self.is_refunded {
            return Err(RedeemRefusal::Refunded);
        }
        match &self.redeemed {
            Some(it) if it.license == license => {
                let amendment = it.amendment;
                return Ok(Redeem::Again { amendment });
            }
            Some(_) => return Err(RedeemRefusal::Elsewhere),
            None => {}
        }
        if let Some(redeem_by) = self.expired(at) {
            return Err(RedeemRefusal::TooLate { redeem_by });
        }
        self.changes(starts_at, at).map(Redeem::Amend)
    }

    /// The last instant at which it could be redeemed, if that is before `at`.
    #[must_use]
    pub fn expired(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.redeem_by.filter(|it| *it < at)
    }

    /// What is granted of it from `at` on. What lasts for a duration begins with the license if that
    /// starts later.
    fn changes(
        &self,
        starts_at: Option<DateTime<Utc>>,
        at: DateTime<Utc>,
    ) -> Result<Vec<Change>, RedeemRefusal> {
        let begins = starts_at.map_or(at, |start| start.max(at));
        let mut changes = Vec::new();
        let mut ended = None;
        for grant in &self.grants {
            let Ok(key) = FeatureKey::parse(&grant.key) else {
                continue;
            };
            let period = match grant.duration {
                Some(_) => grant.period(begins)?,
                None => grant.period(at)?,
            };
            if let Some(until) = period.until.filter(|until| *until < at) {
                ended = ended.max(Some(until));
                continue;
            }
            changes.push(Change::Grant(Entitlement {
                key,
                quantity: grant.quantity,
                period,
            }));
        }
        match ended {
            Some(until) if changes.is_empty() => Err(RedeemRefusal::Ended { until }),
            _ => Ok(changes),
        }
    }
}

/// The first amendment that an add-on key became, of those that are `refunded`, that `next` would
/// restore at any time, also by undoing what undoes it. A refund is final.
#[must_use]
pub fn restored_refund(
    amendments: &[Amendment],
    next: &Amendment,
    refunded: &[u32],
) -> Option<u32> {
    amendment::restored(amendments, next, refunded)
}
