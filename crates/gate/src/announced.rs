//! The last announcement of a License Client, in a compact form with fast lookups.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use hashbrown::HashMap;
use license_core::announcement::{Announcement, Told};
use license_core::feature::CORE_FEATURES;
use license_core::usage::Resource;

use crate::decision::{Decision, Reason};

/// Maximum number of features that are accepted.
const MAX_FEATURES: usize = 100_000;
/// Maximum number of states that are accepted: the current one and later ones.
const MAX_STATES: usize = 256;

/// Maps a feature to its row of decisions. Features with the same decisions in every
/// state share a row, so there are few rows even for many features.
pub(crate) type Rows = HashMap<Box<str>, u32>;

/// The row of all features that are not listed.
pub(crate) const UNLISTED: usize = 0;

/// What a site may use, now and later.
#[derive(Clone)]
pub(crate) struct Announced {
    pub(crate) rows: Arc<Rows>,
    /// In chronological order; never empty.
    pub(crate) states: Vec<State>,
    pub(crate) tier: Option<Arc<str>>,
    pub(crate) limits: Limits,
}

/// What a site may use until the next state starts.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// The last instant of the previous state; `None` for the first one.
    pub(crate) after: Option<DateTime<Utc>>,
    /// One decision per row.
    pub(crate) decisions: Arc<[Decision]>,
}

/// The license's limit for a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Limit {
    /// At most this many.
    AtMost(u64),
    /// No limit.
    Unlimited,
    /// Not announced yet.
    #[default]
    Unknown,
}

/// One limit per resource.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits([Limit; Resource::ALL.len()]);

impl Limits {
    pub(crate) fn get(&self, resource: Resource) -> Limit {
        let place = Resource::ALL.iter().position(|it| *it == resource);
        place.map_or(Limit::Unknown, |place| self.0[place])
    }

    pub(crate) fn set(&mut self, resource: Resource, limit: Limit) {
        for (place, it) in Resource::ALL.iter().zip(&mut self.0) {
            if *place == resource {
                *it = limit;
            }
        }
    }
}

/// The announcement is larger than any site needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the announcement has {features} features in {states} states, expected at most {MAX_FEATURES} in {MAX_STATES}"
)]
pub(crate) struct TooLarge {
    features: usize,
    states: usize,
}

/// Rejects announcements that would take too much time or memory.
pub(crate) fn check_size(announcement: &Announcement) -> Result<(), TooLarge> {
    let later = announcement.then.iter().map(|later| &later.features);
    let features = std::iter::once(&announcement.features).chain(later);
    let features = features.map(BTreeMap::len).max();
    let (features, states) = (features.unwrap_or_default(), announcement.then.len() + 1);
    match features <= MAX_FEATURES && states <= MAX_STATES {
        true => Ok(()),
        false => Err(TooLarge { features, states }),
    }
}

impl Announced {
    /// The state before the first announcement: core features are available, and
    /// `otherwise` applies to all others.
    pub(crate) fn nothing(otherwise: Decision) -> Self {
        let core = CORE_FEATURES.map(|key| (key.into(), Decision::yes(Reason::Core)));
        Self::fixed(core, otherwise)
    }

    /// A single state without an end.
    pub(crate) fn fixed(
        features: impl IntoIterator<Item = (Box<str>, Decision)>,
        otherwise: Decision,
    ) -> Self {
        let mut table = RowTable::new(vec![otherwise]);
        for (key, decision) in features {
            table.add(key, &[decision]);
        }
        let (rows, mut columns) = table.finish(1);
        let decisions = columns.pop().unwrap_or_else(|| [otherwise].into());
        Self {
            rows,
            states: vec![State {
                after: None,
                decisions,
            }],
            tier: None,
            limits: Limits::default(),
        }
    }

    /// Converts an announcement that has passed [`check_size`].
    pub(crate) fn new(announcement: &Announcement) -> Self {
        let first = (None, &announcement.features, &announcement.unlisted);
        let mut states = vec![first];
        states.extend(
            announcement
                .then
                .iter()
                .map(|later| (Some(later.after), &later.features, &later.unlisted)),
        );
        states.sort_by_key(|(after, ..)| *after);
        let unlisted = states
            .iter()
            .map(|(.., unlisted)| Decision::from(*unlisted));
        let mut table = RowTable::new(unlisted.collect());
        let mut decisions: Vec<Decision> = Vec::with_capacity(states.len());
        for (_, features, _) in &states {
            for key in features
                .keys()
                .filter(|key| !table.has(key))
                .collect::<Vec<_>>()
            {
                decisions.clear();
                decisions.extend(states.iter().map(|(_, features, unlisted)| {
                    Decision::from(features.get(key).unwrap_or(unlisted))
                }));
                table.add(key.as_str().into(), &decisions);
            }
        }
        let (rows, columns) = table.finish(states.len());
        let mut limits = Limits::default();
        for resource in Resource::ALL {
            limits.set(
                resource,
                match announcement.limits.get(resource.as_str()) {
                    Some(Some(limit)) => Limit::AtMost(*limit),
                    Some(None) => Limit::Unlimited,
                    None => Limit::Unknown,
                },
            );
        }
        let states = states.iter().zip(columns);
        Self {
            rows,
            states: states
                .map(|((after, ..), decisions)| State {
                    after: *after,
                    decisions,
                })
                .collect(),
            tier: announcement.tier.as_deref().map(Arc::from),
            limits,
        }
    }
}

impl From<&Told> for Decision {
    fn from(told: &Told) -> Self {
        Self {
            available: told.available,
            reason: Reason::of(&told.reason),
        }
    }
}

/// Groups features by their decisions in all states.
struct RowTable {
    rows: Rows,
    /// By row.
    decided: Vec<Vec<Decision>>,
    known: HashMap<Vec<Decision>, u32>,
}

impl RowTable {
    fn new(unlisted: Vec<Decision>) -> Self {
        Self {
            rows: Rows::new(),
            known: HashMap::from_iter([(unlisted.clone(), 0)]),
            decided: vec![unlisted],
        }
    }

    fn has(&self, key: &str) -> bool {
        self.rows.contains_key(key)
    }

    fn add(&mut self, key: Box<str>, decisions: &[Decision]) {
        let row = match self.known.get(decisions) {
            Some(row) => *row,
            None => {
                let row = u32::try_from(self.decided.len()).unwrap_or_default();
                self.decided.push(decisions.to_vec());
                self.known.insert(decisions.to_vec(), row);
                row
            }
        };
        self.rows.insert(key, row);
    }

    /// The rows, and the decisions by state.
    fn finish(mut self, states: usize) -> (Arc<Rows>, Vec<Arc<[Decision]>>) {
        self.rows.shrink_to_fit();
        let column = |state: usize| self.decided.iter().map(|row| row[state]).collect();
        let columns = (0..states).map(column).collect();
        (Arc::new(self.rows), columns)
    }
}
