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
/// Maximum number of limits that are accepted in each state.
const MAX_LIMITS: usize = 10_000;
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
}

/// What a site may use until the next state starts.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// The last instant of the previous state; `None` for the first one.
    pub(crate) after: Option<DateTime<Utc>>,
    /// One decision per row.
    pub(crate) decisions: Arc<[Decision]>,
    pub(crate) limits: Arc<Limits>,
}

/// The license's limit for something that it counts.
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

/// The limits in one state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    by_key: HashMap<Box<str>, Limit>,
    /// For everything else.
    otherwise: Limit,
}

impl Limits {
    fn new(announced: &BTreeMap<String, Option<u64>>) -> Self {
        let announced = announced.iter().map(|(key, limit)| {
            let limit = limit.map_or(Limit::Unlimited, Limit::AtMost);
            (key.as_str().into(), limit)
        });
        let unknown = Resource::ALL.map(|it| (it.as_str().into(), Limit::Unknown));
        Self {
            by_key: unknown.into_iter().chain(announced).collect(),
            // What a license does not count, it does not grant.
            otherwise: Limit::AtMost(0),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Limit {
        self.by_key.get(key).copied().unwrap_or(self.otherwise)
    }

    pub(crate) fn set(&mut self, key: &str, limit: Limit) {
        self.by_key.insert(key.into(), limit);
    }
}

/// The announcement is larger than any site needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the announcement has {features} features in {states} states, expected at most {MAX_FEATURES} in \
     {MAX_STATES}, and {limits} limits, expected at most {MAX_LIMITS}"
)]
pub(crate) struct TooLarge {
    features: usize,
    limits: usize,
    states: usize,
}

/// Rejects announcements that would take too much time or memory.
pub(crate) fn check_size(announcement: &Announcement) -> Result<(), TooLarge> {
    let later = announcement.then.iter().map(|later| &later.features);
    let features = std::iter::once(&announcement.features).chain(later);
    let features = features.map(BTreeMap::len);
    let features = features.max().unwrap_or_default();
    let later = announcement.then.iter().filter_map(|it| it.limits.as_ref());
    let limits = std::iter::once(&announcement.limits).chain(later);
    let limits = limits.map(BTreeMap::len).max().unwrap_or_default();
    let states = announcement.then.len() + 1;
    match features <= MAX_FEATURES && limits <= MAX_LIMITS && states <= MAX_STATES {
        true => Ok(()),
        false => Err(TooLarge {
            features,
            limits,
            states,
        }),
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
                limits: Arc::default(),
            }],
            tier: None,
        }
    }

    /// Converts an announcement that has passed [`check_size`].
    pub(crate) fn new(announcement: &Announcement) -> Self {
        let Announcement {
            features,
            unlisted,
            limits,
            ..
        } = announcement;
        let first = (None, features, unlisted, Some(limits));
        let mut states = vec![first];
        states.extend(announcement.then.iter().map(|later| {
            let limits = later.limits.as_ref();
            (Some(later.after), &later.features, &later.unlisted, limits)
        }));
        states.sort_by_key(|(after, ..)| *after);
        let unlisted = states.iter().map(|state| Decision::from(state.2));
        let mut table = RowTable::new(unlisted.collect());
        let mut decisions: Vec<Decision> = Vec::with_capacity(states.len());
        for (_, features, ..) in &states {
            for key in features
                .keys()
                .filter(|key| !table.has(key))
                .collect::<Vec<_>>()
            {
                decisions.clear();
                decisions.extend(states.iter().map(|(_, features, unlisted, _)| {
                    Decision::from(features.get(key).unwrap_or(unlisted))
                }));
                table.add(key.as_str().into(), &decisions);
            }
        }
        let (rows, columns) = table.finish(states.len());
        let mut in_force = Arc::default();
        let states = states.iter().zip(columns);
        let states = states.map(|((after, .., limits), decisions)| {
            if let Some(limits) = limits {
                in_force = Arc::new(Limits::new(limits));
            }
            State {
                after: *after,
                decisions,
                limits: in_force.clone(),
            }
        });
        Self {
            rows,
            states: states.collect(),
            tier: announcement.tier.as_deref().map(Arc::from),
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
