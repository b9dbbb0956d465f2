//! What the service knows, as one value in memory.
//!
//! Every answer is derived from the snapshot and the time: a request never waits for the database,
//! the network or a lock.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use license_core::announcement::{Announcement, announce, next_change};
use license_core::evidence::Evidence;
use license_core::feature::{CORE_FEATURES, FeatureKey, LICENSED_FEATURES};
use license_core::gate::{self, Decision, Entitlements, Reason};
use license_core::lease::Lease;
use license_core::license::License;
use license_core::limits::Limit;
use license_core::plausible_time::PlausibleTime;
use license_core::release::Consequence;
use license_core::standing::{Policy, Standing, grace_end, standing};
use license_core::upcoming::{Upcoming, upcoming};
use license_core::usage::{Resource, Usage};

use crate::release_document::ReleaseDocument;

/// Evidence, and the conclusions from it at any instant.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What is known.
    pub evidence: Evidence,
    entitlements: Entitlements,
    unreadable_fields: Vec<&'static str>,
    policy: Policy,
    release: ReleaseDocument,
    /// Computed at the first request.
    known_features: OnceLock<BTreeSet<FeatureKey>>,
}

impl Snapshot {
    /// Combines evidence with the features that the site has switched off, and with the release
    /// that is installed.
    pub(super) fn new(
        evidence: Evidence,
        switched_off: BTreeSet<FeatureKey>,
        policy: Policy,
        release: ReleaseDocument,
    ) -> Self {
        let license = evidence.lease.as_ref().map(Lease::license);
        let granted = license.map(License::granted).unwrap_or_default();
        Self {
            entitlements: Entitlements::new(granted, switched_off)
                .with_installed_release(license, release.verified()),
            unreadable_fields: license.map(License::unreadable).unwrap_or_default(),
            evidence,
            policy,
            release,
            known_features: OnceLock::new(),
        }
    }

    /// The same site with other evidence.
    pub(super) fn with_evidence(&self, evidence: Evidence) -> Self {
        Self::new(
            evidence,
            self.switched_off(),
            self.policy,
            self.release.clone(),
        )
    }

    /// The same site with another release.
    pub(super) fn with_release(&self, release: ReleaseDocument) -> Self {
        Self::new(
            self.evidence.clone(),
            self.switched_off(),
            self.policy,
            release,
        )
    }

    fn switched_off(&self) -> BTreeSet<FeatureKey> {
        self.entitlements.switched_off().cloned().collect()
    }

    /// The document of the installed release.
    #[must_use]
    pub fn release(&self) -> &ReleaseDocument {
        &self.release
    }

    /// What the installed release means for the site.
    #[must_use]
    pub fn release_consequence(&self) -> Consequence {
        let installed = self.release.verified();
        installed.map_or(Consequence::None, |installed| {
            Consequence::of(self.license(), installed.release())
        })
    }

    /// What the license grants, and the features that are switched off.
    #[must_use]
    pub fn entitlements(&self) -> &Entitlements {
        &self.entitlements
    }

    /// The license, valid or not.
    #[must_use]
    pub fn license(&self) -> Option<&License> {
        self.evidence.lease.as_ref().map(Lease::license)
    }

    /// See [`License::unreadable`].
    #[must_use]
    pub fn unreadable_fields(&self) -> &[&'static str] {
        &self.unreadable_fields
    }

    /// The standing at `now`.
    #[must_use]
    pub fn standing(&self, now: DateTime<Utc>) -> Standing {
        standing(&self.evidence, now, &self.policy)
    }

    /// The last instant at which what the site may use at `now` is unchanged, if there is no new
    /// evidence.
    #[must_use]
    pub fn holds_until(&self, now: PlausibleTime) -> Option<DateTime<Utc>> {
        next_change(&self.evidence, &self.entitlements, &self.policy, now)
    }

    /// The limit at `now` for a [`Resource`], or for anything else by its key.
    #[must_use]
    pub fn limit(&self, key: impl AsRef<str>, now: PlausibleTime) -> Limit {
        Limit::of(self.license(), &self.entitlements, key, now)
    }

    /// The keys of everything that is counted: every [`Resource`], and then what else the license
    /// counts at any time or `usage` contains, in alphabetical order.
    #[must_use]
    pub fn counted<'a>(&'a self, usage: &'a Usage) -> Vec<&'a str> {
        let keys = self.entitlements.counted().chain(usage.counts.keys());
        let keys = keys.map(FeatureKey::as_str);
        let others: BTreeSet<&str> = keys.filter(|key| Resource::of(key).is_none()).collect();
        let resources = Resource::ALL.map(Resource::as_str).into_iter();
        resources.chain(others).collect()
    }

    /// The keys of what `usage` exceeds the limits of, as in [`Snapshot::counted`].
    #[must_use]
    pub fn over_limit<'a>(&'a self, usage: &'a Usage, now: PlausibleTime) -> Vec<&'a str> {
        let is_over = |key: &&str| {
            let limit = self.limit(key, now).number();
            usage
                .of(key)
                .zip(limit)
                .is_some_and(|(used, limit)| used > limit)
        };
        self.counted(usage).into_iter().filter(is_over).collect()
    }

    /// What the license starts or stops granting next; nothing if it is not valid. Answers read it
    /// from [`Entitled`](crate::entitled::Entitled), which has it computed once.
    #[must_use]
    pub fn upcoming(&self, now: PlausibleTime) -> Vec<Upcoming> {
        match (self.license(), self.standing(now.latest())) {
            (Some(license), Standing::Active | Standing::Grace { .. }) => {
                upcoming(license, &self.entitlements, now)
            }
            _ => Vec::new(),
        }
    }

    /// The features in force at `now` that are not core features, also where the installed release
    /// switches them off.
    #[must_use]
    pub fn licensed_features(&self, now: PlausibleTime) -> Vec<FeatureKey> {
        let standing = self.standing(now.latest());
        let is_in_force = |key: &&FeatureKey| {
            let (entitlements, policy) = (&self.entitlements, &self.policy);
            let decision = gate::decide(key.as_str(), now, &standing, entitlements, policy);
            matches!(
                decision.reason,
                Reason::Licensed | Reason::GracePeriod | Reason::UpdateNotCovered
            )
        };
        let known = self.known_features();
        known.iter().filter(is_in_force).cloned().collect()
    }

    /// All features worth showing: those of the product, those of the license, and those that are
    /// switched off.
    #[must_use]
    pub fn known_features(&self) -> &BTreeSet<FeatureKey> {
        self.known_features.get_or_init(|| {
            CORE_FEATURES
                .iter()
                .chain(&LICENSED_FEATURES)
                .filter_map(|key| FeatureKey::parse(key).ok())
                .chain(self.entitlements.listed().cloned())
                .chain(self.entitlements.switched_off().cloned())
                .collect()
        })
    }

    /// The decisions about the known features at `now`, in the form in which they are sent.
    #[must_use]
    pub fn announce(&self, now: PlausibleTime) -> Announcement {
        let Self {
            evidence,
            entitlements,
            policy,
            ..
        } = self;
        announce(evidence, entitlements, policy, self.known_features(), now)
    }

    /// When grace ends or would end.
    #[must_use]
    pub fn grace_end(&self) -> Option<DateTime<Utc>> {
        grace_end(&self.evidence, &self.policy)
    }

    /// Decides about one feature at `now`, and passes the decision to `answer`: its reason borrows
    /// from the standing, so nothing is copied.
    pub fn decide<T>(
        &self,
        key: &str,
        now: PlausibleTime,
        answer: impl FnOnce(Decision<'_>) -> T,
    ) -> T {
        let standing = self.standing(now.latest());
        answer(gate::decide(
            key,
            now,
            &standing,
            &self.entitlements,
            &self.policy,
        ))
    }
}
