//! What a License Client tells those who follow it: what the site may use now,
//! and what it may use later if nothing new becomes known.
//!
//! The later states are why a gate needs no message when a license ends. Where
//! a gate has keys of its own, [`held_against`] leaves of all states what a
//! signed license proves.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::document::VerifiedLicense;
use crate::evidence::Evidence;
use crate::feature::{CORE_FEATURES, FeatureKey};
use crate::gate::{Decision, Entitlements, Reason, decide};
use crate::lease::Lease;
use crate::license::License;
use crate::limits::limit;
use crate::standing::{Policy, Standing, holds_until, standing};
use crate::usage::Resource;

/// Why a feature is off that a License Client calls available, while the
/// signed license that came with it does not list it.
pub const NOT_SIGNED: &str = "not_signed";

/// What a site may use, now and later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Announcement {
    /// `unlicensed`, `active`, `grace` or `lapsed`.
    pub standing: String,
    /// The license's tier.
    pub tier: Option<String>,
    /// When the grace period ends that is running now.
    pub grace_until: Option<DateTime<Utc>>,
    /// Until when the standing holds if nothing new becomes known, that
    /// instant included; `None` when it holds for ever.
    pub holds_until: Option<DateTime<Utc>>,
    /// Every feature that is known.
    pub features: BTreeMap<String, Told>,
    /// Any other feature.
    pub unlisted: Told,
    /// The license's limits; `None` is no limit.
    pub limits: BTreeMap<String, Option<u64>>,
    /// What comes after, in order of time.
    pub then: Vec<Later>,
}

/// A decision, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Whether the feature may be used.
    pub available: bool,
    /// Why, or why not: see [`crate::gate::Reason::code`].
    pub reason: String,
}

/// What a site may use after an instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Later {
    /// The last instant of the state before.
    pub after: DateTime<Utc>,
    /// As in [`Announcement::standing`].
    pub standing: String,
    /// As in [`Announcement::features`].
    pub features: BTreeMap<String, Told>,
    /// As in [`Announcement::unlisted`].
    pub unlisted: Told,
}

/// What goes with an announcement on its way, beside its own members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// What time the License Client believes it is.
    pub now: DateTime<Utc>,
    /// What proves the announcement, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

/// What proves an announcement to who has keys of his own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signed {
    /// The signed license.
    pub license: String,
    /// The signed key sets that lead from the keys that the License Client
    /// began with to those that it trusts: see [`crate::rotation`].
    pub key_sets: Vec<String>,
}

/// The decisions of one state.
struct State {
    standing: Standing,
    features: BTreeMap<String, Told>,
    unlisted: Told,
}

/// Says what a site may use at `now` and after. `known` are the features to
/// say it of.
#[must_use]
pub fn announce(
    evidence: &Evidence,
    entitlements: &Entitlements,
    policy: &Policy,
    known: &BTreeSet<FeatureKey>,
    now: DateTime<Utc>,
) -> Announcement {
    let state = |at| {
        let standing = standing(evidence, at, policy);
        let told = |key: &str| Told::from(decide(key, &standing, entitlements, policy));
        State {
            features: known
                .iter()
                .map(|key| (key.as_str().to_owned(), told(key.as_str())))
                .collect(),
            // No key is empty, so no license lists this one.
            unlisted: told(""),
            standing,
        }
    };
    let mut then = Vec::new();
    let mut end = holds_until(evidence, now, policy);
    let holds_until_now = end;
    while let Some((after, from)) = end.and_then(|end| Some((end, next_instant(end)?))) {
        let later = state(from);
        then.push(Later {
            after,
            standing: later.standing.as_str().to_owned(),
            features: later.features,
            unlisted: later.unlisted,
        });
        end = holds_until(evidence, from, policy);
    }
    let license = evidence.lease.as_ref().map(Lease::license);
    let current = state(now);
    Announcement {
        standing: current.standing.as_str().to_owned(),
        tier: license.and_then(License::tier).map(str::to_owned),
        grace_until: match current.standing {
            Standing::Grace { until } => Some(until),
            _ => None,
        },
        holds_until: holds_until_now,
        features: current.features,
        unlisted: current.unlisted,
        limits: limits(|resource| license.and_then(|license| limit(license, resource))),
        then,
    }
}

/// What is left of `told` when only that counts which `license` proves: core
/// features, and those that it lists, until its signed end, within its limits.
/// Without a license that is proven, nothing but core features is left.
#[must_use]
pub fn held_against(
    told: &Announcement,
    license: Option<&VerifiedLicense>,
    now: DateTime<Utc>,
) -> Announcement {
    let proof = Proof::of(license);
    let mut instants: Vec<DateTime<Utc>> = told.then.iter().map(|later| later.after).collect();
    instants.extend(proof.ends(now));
    instants.sort_unstable();
    instants.dedup();
    let state = |at| {
        let (standing, features, unlisted) = told.state(at);
        let features = features
            .iter()
            .map(|(key, told)| (key.clone(), proof.leaves(key, told, at)));
        // What the client does not name is not proven either.
        let unlisted = Told {
            available: false,
            ..unlisted.clone()
        };
        (standing.to_owned(), features.collect(), unlisted)
    };
    let (standing, features, unlisted) = state(now);
    let then = instants.iter().filter(|instant| **instant >= now);
    let then = then.filter_map(|after| {
        let (standing, features, unlisted) = state(next_instant(*after)?);
        Some(Later {
            after: *after,
            standing,
            features,
            unlisted,
        })
    });
    Announcement {
        standing,
        features,
        unlisted,
        then: then.collect(),
        tier: proof.license().and_then(License::tier).map(str::to_owned),
        limits: limits(|resource| {
            let said = told.limits.get(resource.as_str()).copied().flatten();
            let proven = match proof.license() {
                Some(license) => limit(license, resource),
                None => Some(0),
            };
            // No limit is more than any.
            said.into_iter().chain(proven).min()
        }),
        ..told.clone()
    }
}

fn limits(of: impl Fn(Resource) -> Option<u64>) -> BTreeMap<String, Option<u64>> {
    let all = Resource::ALL.into_iter();
    all.map(|resource| (resource.as_str().to_owned(), of(resource)))
        .collect()
}

impl Announcement {
    /// The same, with core features on wherever there is a license: nobody
    /// switches them off, whatever he says.
    #[must_use]
    pub fn with_core(mut self) -> Self {
        let later = self.then.iter_mut();
        let later = later.map(|later| (&later.standing, &mut later.features));
        for (standing, features) in
            std::iter::once((&self.standing, &mut self.features)).chain(later)
        {
            if standing == Standing::Unlicensed.as_str() {
                continue;
            }
            for key in CORE_FEATURES {
                let core = Told {
                    available: true,
                    reason: Reason::Core.code().to_owned(),
                };
                features.insert(key.to_owned(), core);
            }
        }
        self
    }

    /// Standing, features and any other feature at `at`.
    #[must_use]
    pub fn state(&self, at: DateTime<Utc>) -> (&str, &BTreeMap<String, Told>, &Told) {
        let later = self.then.iter().rfind(|later| later.after < at);
        later.map_or((&self.standing, &self.features, &self.unlisted), |later| {
            (&later.standing, &later.features, &later.unlisted)
        })
    }
}

/// A license that is proven, as evidence of nothing else.
struct Proof {
    evidence: Evidence,
    entitlements: Entitlements,
}

impl Proof {
    /// How long grace lasts, and whether core features need a license, is for
    /// the client to say; here the signed end is the bound.
    const POLICY: Policy = Policy {
        grace: TimeDelta::MAX,
        allow_unlicensed_core: true,
    };

    fn of(license: Option<&VerifiedLicense>) -> Self {
        let lease = license.map(|license| Lease::Signed(Box::new(license.clone())));
        let listed = lease.as_ref().map(|lease| lease.license().features().keys);
        Self {
            entitlements: Entitlements::new(listed.unwrap_or_default(), BTreeSet::new()),
            evidence: Evidence {
                lease,
                ..Evidence::default()
            },
        }
    }

    fn license(&self) -> Option<&License> {
        self.evidence.lease.as_ref().map(Lease::license)
    }

    /// When what is proven changes, from `now` on.
    fn ends(&self, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let from = |at| holds_until(&self.evidence, at, &Self::POLICY);
        let next = |end: &DateTime<Utc>| from(next_instant(*end)?);
        std::iter::successors(from(now), next).collect()
    }

    fn leaves(&self, key: &str, told: &Told, at: DateTime<Utc>) -> Told {
        let standing = standing(&self.evidence, at, &Self::POLICY);
        let proven = decide(key, &standing, &self.entitlements, &Self::POLICY);
        if !told.available || proven.available {
            return told.clone();
        }
        let reason = match standing {
            Standing::Lapsed(why) if self.entitlements.lists(key) => why.code().to_owned(),
            _ => NOT_SIGNED.to_owned(),
        };
        Told {
            available: false,
            reason,
        }
    }
}

impl From<Decision<'_>> for Told {
    fn from(decision: Decision<'_>) -> Self {
        Self {
            available: decision.available,
            reason: decision.reason.code().to_owned(),
        }
    }
}

/// The first instant after a bound that is included.
fn next_instant(end: DateTime<Utc>) -> Option<DateTime<Utc>> {
    end.checked_add_signed(TimeDelta::nanoseconds(1))
}
