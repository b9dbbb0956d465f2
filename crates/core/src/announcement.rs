//! Announcements of a License Client to its subscribers: what the site may use now, and
//! what it may use after each known end.
//!
//! Because of the later states, a gate needs no message when a license ends. If a gate
//! has its own keys, [`constrained_by`] reduces all states to what a signed license
//! proves.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::document::VerifiedLicense;
use crate::entitlement::next_instant;
use crate::evidence::Evidence;
use crate::feature::{CORE_FEATURES, FeatureKey};
use crate::gate::{Decision, Entitlements, Reason, decide};
use crate::lease::Lease;
use crate::license::License;
use crate::limits::limits;
use crate::plausible_time::PlausibleTime;
use crate::standing::{Policy, Standing, holds_until, standing};

/// The reason of a feature that a License Client announces as available although the
/// signed license that came with it does not list it.
pub const NOT_SIGNED: &str = "not_signed";

/// Maximum number of later states that are announced because of entitlements. From then on, only
/// the ends of the standing are: those apply without contact, too. What is left out is announced
/// when the first state has begun.
pub const MAX_LATER: usize = 64;
/// Maximum number of decisions in these states.
const MAX_LATER_DECISIONS: usize = 200_000;

/// What a site may use, now and later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Announcement {
    /// `unlicensed`, `active`, `grace` or `lapsed`.
    pub standing: String,
    /// The license's tier.
    pub tier: Option<String>,
    /// The end of the current grace period.
    pub grace_until: Option<DateTime<Utc>>,
    /// The last instant at which standing, features and limits are valid without new evidence;
    /// `None` if they never change.
    pub holds_until: Option<DateTime<Utc>>,
    /// All known features.
    pub features: BTreeMap<String, Told>,
    /// All other features.
    pub unlisted: Told,
    /// The license's limits; `None` means unlimited.
    pub limits: BTreeMap<String, Option<u64>>,
    /// Later states, in chronological order.
    pub then: Vec<Later>,
}

/// A decision in an announcement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Whether the feature is available.
    pub available: bool,
    /// The reason: see [`crate::gate::Reason::code`].
    pub reason: String,
}

/// What a site may use from a given instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Later {
    /// The last instant of the previous state.
    pub after: DateTime<Utc>,
    /// As in [`Announcement::standing`].
    pub standing: String,
    /// As in [`Announcement::features`].
    pub features: BTreeMap<String, Told>,
    /// As in [`Announcement::unlisted`].
    pub unlisted: Told,
    /// As in [`Announcement::limits`]; `None` if they are those of the previous state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<BTreeMap<String, Option<u64>>>,
}

/// Sent with an announcement, in addition to its members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// The License Client's time.
    pub now: DateTime<Utc>,
    /// The proof of the announcement, if it was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

/// Proves an announcement to a subscriber with its own keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signed {
    /// The signed license.
    pub license: String,
    /// The signed key sets that lead from the License Client's initial keys to its current
    /// ones: see [`crate::rotation`].
    pub key_sets: Vec<String>,
}

/// The decisions of one state.
struct State {
    standing: Standing,
    features: BTreeMap<String, Told>,
    unlisted: Told,
}

/// What a site may use from `now` on. `known` are the features to include.
#[must_use]
pub fn announce(
    evidence: &Evidence,
    entitlements: &Entitlements,
    policy: &Policy,
    known: &BTreeSet<FeatureKey>,
    now: PlausibleTime,
) -> Announcement {
    let state = |at: PlausibleTime| {
        let standing = standing(evidence, at.latest(), policy);
        let told = |key: &str| Told::from(decide(key, at, &standing, entitlements, policy));
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
    let license = evidence.lease.as_ref().map(Lease::license);
    let limits = |at| limits(license, entitlements, at);
    let limits_now = limits(now);
    let mut previous = limits_now.clone();
    let mut then = Vec::new();
    let max_later = MAX_LATER.min(MAX_LATER_DECISIONS / known.len().max(1));
    let next = |states: usize, at: PlausibleTime| match states < max_later {
        true => next_change(evidence, entitlements, policy, at),
        false => holds_until(evidence, at.latest(), policy),
    };
    let mut end = next(0, now);
    let holds_until_now = next_change(evidence, entitlements, policy, now);
    while let Some((after, from)) = end.and_then(|end| Some((end, next_instant(end)?))) {
        let from = now.moved_to(from);
        let later = state(from);
        then.push(Later {
            after,
            standing: later.standing.as_str().to_owned(),
            features: later.features,
            unlisted: later.unlisted,
            limits: changed(&mut previous, limits(from)),
        });
        end = next(then.len(), from);
    }
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
        limits: limits_now,
        then,
    }
}

/// The last instant at which what a site may use at `now` is unchanged without new evidence; `None`
/// if it never changes.
#[must_use]
pub fn next_change(
    evidence: &Evidence,
    entitlements: &Entitlements,
    policy: &Policy,
    now: PlausibleTime,
) -> Option<DateTime<Utc>> {
    let ends = [
        holds_until(evidence, now.latest(), policy),
        entitlements.holds_until(now),
    ];
    ends.into_iter().flatten().min()
}

/// Reduces `told` to what `license` proves: core features, and the listed features until the signed
/// end and within the license's limits. Without a verified license, only core features remain.
/// `now` is the announced time, with how far it is ahead of the time at which the license's
/// entitlements may start.
#[must_use]
pub fn constrained_by(
    told: &Announcement,
    license: Option<&VerifiedLicense>,
    now: PlausibleTime,
) -> Announcement {
    let proof = Proof::of(license);
    let mut instants: Vec<DateTime<Utc>> = told.then.iter().map(|later| later.after).collect();
    instants.extend(proof.ends(now));
    instants.sort_unstable();
    instants.dedup();
    let state = |at: PlausibleTime| {
        let (standing, features, unlisted) = told.state(at.latest());
        let features = features
            .iter()
            .map(|(key, told)| (key.clone(), proof.leaves(key, told, at)));
        // A limit that the client omits is not proven either.
        let unlisted = Told {
            available: false,
            ..unlisted.clone()
        };
        (standing.to_owned(), features.collect(), unlisted)
    };
    let (standing, features, unlisted) = state(now);
    let limits = proof.limits(told.limits(now.latest()), now);
    let mut previous = limits.clone();
    let then = instants.iter().filter(|instant| **instant >= now.latest());
    let then = then.filter_map(|after| {
        let from = now.moved_to(next_instant(*after)?);
        let (standing, features, unlisted) = state(from);
        Some(Later {
            after: *after,
            standing,
            features,
            unlisted,
            limits: changed(
                &mut previous,
                proof.limits(told.limits(from.latest()), from),
            ),
        })
    });
    Announcement {
        standing,
        features,
        unlisted,
        then: then.collect(),
        tier: proof.license().and_then(License::tier).map(str::to_owned),
        limits,
        ..told.clone()
    }
}

impl Announcement {
    /// The same, with core features on if there is a license: an announcement cannot switch
    /// them off.
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

    /// Standing, features and other features at `at`.
    #[must_use]
    pub fn state(&self, at: DateTime<Utc>) -> (&str, &BTreeMap<String, Told>, &Told) {
        let later = self.then.iter().rfind(|later| later.after < at);
        later.map_or((&self.standing, &self.features, &self.unlisted), |later| {
            (&later.standing, &later.features, &later.unlisted)
        })
    }

    /// The limits at `at`.
    #[must_use]
    pub fn limits(&self, at: DateTime<Utc>) -> &BTreeMap<String, Option<u64>> {
        let later = self.then.iter().rev().filter(|later| later.after < at);
        let mut limits = later.filter_map(|later| later.limits.as_ref());
        limits.next().unwrap_or(&self.limits)
    }
}

/// A verified license, as the only evidence.
struct Proof {
    evidence: Evidence,
    entitlements: Entitlements,
}

impl Proof {
    /// The client applies the grace period and the setting for unlicensed core features.
    /// Here only the signed end matters.
    const POLICY: Policy = Policy {
        grace: TimeDelta::MAX,
        allow_unlicensed_core: true,
    };

    fn of(license: Option<&VerifiedLicense>) -> Self {
        let lease = license.map(|license| Lease::Signed(Box::new(license.clone())));
        let granted = lease.as_ref().map(|lease| lease.license().granted());
        Self {
            entitlements: Entitlements::new(granted.unwrap_or_default(), BTreeSet::new()),
            evidence: Evidence {
                lease,
                ..Evidence::default()
            },
        }
    }

    fn license(&self) -> Option<&License> {
        self.evidence.lease.as_ref().map(Lease::license)
    }

    /// The instants at which the proof changes, from `now` on.
    fn ends(&self, now: PlausibleTime) -> Vec<DateTime<Utc>> {
        let ends_of_lease =
            |at: PlausibleTime| holds_until(&self.evidence, at.latest(), &Self::POLICY);
        let changes = |at| next_change(&self.evidence, &self.entitlements, &Self::POLICY, at);
        let all = |next: &dyn Fn(PlausibleTime) -> Option<DateTime<Utc>>| {
            let after = |end: &DateTime<Utc>| next(now.moved_to(next_instant(*end)?));
            std::iter::successors(next(now), after)
                .take(MAX_LATER)
                .collect::<Vec<_>>()
        };
        [all(&changes), all(&ends_of_lease)].concat()
    }

    /// The announced limits, as far as the license grants them at `at`.
    fn limits(
        &self,
        told: &BTreeMap<String, Option<u64>>,
        at: PlausibleTime,
    ) -> BTreeMap<String, Option<u64>> {
        let license = self.license();
        let mut proven = limits(license, &self.entitlements, at);
        if license.is_none() {
            proven.values_mut().for_each(|limit| *limit = Some(0));
        }
        let announced = told.iter().map(|(key, said)| {
            let proven = proven.remove(key).unwrap_or(Some(0));
            // A missing limit is higher than any number.
            (key.clone(), said.iter().copied().chain(proven).min())
        });
        let mut limits: BTreeMap<_, _> = announced.collect();
        limits.append(&mut proven);
        limits
    }

    fn leaves(&self, key: &str, told: &Told, at: PlausibleTime) -> Told {
        let standing = standing(&self.evidence, at.latest(), &Self::POLICY);
        let proven = decide(key, at, &standing, &self.entitlements, &Self::POLICY);
        if !told.available || proven.available {
            return told.clone();
        }
        let reason = match proven.reason {
            Reason::Lapsed(why) => why.code(),
            reason @ (Reason::StartsLater(_) | Reason::Ended(_)) => reason.code(),
            _ => NOT_SIGNED,
        }
        .to_owned();
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

/// `limits`, if they differ from the previous ones, which they then replace.
fn changed(
    previous: &mut BTreeMap<String, Option<u64>>,
    limits: BTreeMap<String, Option<u64>>,
) -> Option<BTreeMap<String, Option<u64>>> {
    if *previous == limits {
        return None;
    }
    previous.clone_from(&limits);
    Some(limits)
}
