//! What the site may use, as one value for subscribers, OpenFeature providers and lists of
//! features. It is computed when something has changed, not for each caller.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;
use axum::body::Bytes;
use chrono::{DateTime, Utc};
use license_core::announcement::{Envelope, Signed};
use license_core::feature::FeatureKey;
use license_core::last_change::LastChange;
use license_core::lease::Lease;
use license_core::plausible_time::PlausibleTime;
use license_core::upcoming::Upcoming;

use crate::announced::Announced;
use crate::knowledge::snapshot::Snapshot;
use crate::trusted_keys::TrustedKeys;

/// What the site may use, as long as neither its snapshot nor its standing changes.
#[derive(Debug)]
pub struct Entitled {
    /// The snapshot from which it was computed.
    pub snapshot: Arc<Snapshot>,
    /// The state for subscribers.
    pub announced: Arc<Announced>,
    /// All flags as sent to OpenFeature providers, computed at the first request.
    pub flags: OnceLock<Bytes>,
    /// All features as the API lists them, computed at the first request.
    pub list: OnceLock<Bytes>,
    upcoming: OnceLock<Vec<Upcoming>>,
    starts_at: OnceLock<Option<DateTime<Utc>>>,
    last_change: OnceLock<Option<LastChange>>,
    licensed_features: OnceLock<Vec<FeatureKey>>,
    /// The instant for which it was computed; it is valid until the end of the standing.
    from: PlausibleTime,
}

impl Entitled {
    fn new(snapshot: Arc<Snapshot>, from: PlausibleTime) -> Self {
        let announcement = snapshot.announce(from);
        Self {
            snapshot,
            announced: Arc::new(Announced::new(announcement)),
            flags: OnceLock::new(),
            list: OnceLock::new(),
            upcoming: OnceLock::new(),
            starts_at: OnceLock::new(),
            last_change: OnceLock::new(),
            licensed_features: OnceLock::new(),
            from,
        }
    }

    /// What the license starts or stops granting next, computed at the first request.
    pub fn upcoming(&self) -> &[Upcoming] {
        self.upcoming
            .get_or_init(|| self.snapshot.upcoming(self.from))
    }

    /// When the license starts, if nothing of it is in force yet; computed at the first request.
    pub fn starts_at(&self) -> Option<DateTime<Utc>> {
        *self
            .starts_at
            .get_or_init(|| self.snapshot.entitlements().starts_at(self.from))
    }

    /// The licensed features in force, see [`Snapshot::licensed_features`]; computed at the first
    /// request.
    pub fn licensed_features(&self) -> &[FeatureKey] {
        self.licensed_features
            .get_or_init(|| self.snapshot.licensed_features(self.from))
    }

    /// What changed last, computed at the first request; only for trusted callers with the names
    /// of customers.
    pub fn last_change(&self, is_trusted: bool) -> Option<LastChange> {
        let computed = self.last_change.get_or_init(|| {
            let evidence = &self.snapshot.evidence;
            evidence.last_change(self.from.earliest())
        });
        match is_trusted {
            true => computed.clone(),
            false => computed.as_ref()?.without_customer(),
        }
    }

    fn is_of(&self, snapshot: &Arc<Snapshot>, now: PlausibleTime) -> bool {
        let until = self.announced.announcement.holds_until;
        Arc::ptr_eq(&self.snapshot, snapshot)
            && self.from.lag() == now.lag()
            && self.from.latest() <= now.latest()
            && until.is_none_or(|until| now.latest() <= until)
    }
}

/// The newest [`Entitled`].
#[derive(Debug, Default)]
pub struct LatestEntitled {
    latest: ArcSwapOption<Entitled>,
    computing: Mutex<()>,
}

impl LatestEntitled {
    /// What the site of `snapshot` may use at `now` and later.
    #[must_use]
    pub fn at(&self, snapshot: &Arc<Snapshot>, now: PlausibleTime) -> Arc<Entitled> {
        let latest = || {
            let latest = self.latest.load_full();
            latest.filter(|entitled| entitled.is_of(snapshot, now))
        };
        latest().unwrap_or_else(|| {
            // One computation for which all callers wait, instead of one for each.
            let _computing = self
                .computing
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            latest().unwrap_or_else(|| {
                let entitled = Arc::new(Entitled::new(snapshot.clone(), now));
                self.latest.store(Some(entitled.clone()));
                entitled
            })
        })
    }
}

/// The value that is sent with an announcement at `now`; for subscribers that verify it, with the
/// signed license and the chain of these keys.
#[must_use]
pub fn envelope(snapshot: &Snapshot, proof: Option<&TrustedKeys>, now: DateTime<Utc>) -> Envelope {
    let signed = match (&snapshot.evidence.lease, proof) {
        (Some(Lease::Signed(document)), Some(keys)) => Some(Signed {
            license: document.jws().to_owned(),
            key_sets: keys.chain(),
        }),
        _ => None,
    };
    Envelope { now, signed }
}
