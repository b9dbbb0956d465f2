//! What a license consists of over time.
//!
//! One pass over the changes finds it for all instants together, from the last change to the first:
//! the latest change decides. The work therefore does not depend on how many amendments are
//! scheduled, or undone and restored.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::instants::{Instants, applicable};
use super::{Amendment, Change, Contents, Origin, end_of_first_activation, instants_from};
use crate::calendar_duration::CalendarDuration;
use crate::entitlement::{Entitlement, Period};
use crate::feature::FeatureKey;

/// The license from an instant on, until the next state begins.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The first instant.
    pub from: DateTime<Utc>,
    /// What the license consists of.
    pub contents: Contents,
}

/// The license at `at`. The amendments may be in any order.
#[must_use]
pub fn contents(amendments: &[Amendment], at: DateTime<Utc>) -> Contents {
    Timeline::at(amendments.iter(), at).contents(0)
}

/// The license at `at`, and from each later instant on at which amendments take effect that are
/// recorded already. The amendments may be in any order.
#[must_use]
pub fn states(amendments: &[Amendment], at: DateTime<Utc>) -> Vec<State> {
    let timeline = Timeline::from(amendments.iter(), at);
    let places = 0..timeline.instants.len();
    places.map(|place| timeline.state(place)).collect()
}

/// A license at several instants.
pub(super) struct Timeline<'a> {
    /// The instants, in order.
    pub(super) instants: Vec<DateTime<Utc>>,
    /// What is ever granted at one of them.
    pub(super) grants: BTreeMap<Origin, Granting<'a>>,
    /// The changes to everything else that decide at one of them, the last one first.
    settings: Vec<Setting<'a>>,
}

/// Something that is granted.
pub(super) struct Granting<'a> {
    pub(super) entitlement: &'a Entitlement,
    /// When it is.
    pub(super) at: Instants,
}

struct Setting<'a> {
    origin: Origin,
    effective_at: DateTime<Utc>,
    change: &'a Change,
    at: Instants,
}

/// The period of a license at an instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) period: Period,
    /// See [`Contents::lasts`].
    pub(super) lasts: Option<CalendarDuration>,
    /// When the amendment took effect that set the end.
    pub(super) end_set_at: Option<DateTime<Utc>>,
}

impl Bounds {
    /// The end that the first activation of the license sets at `at`.
    pub(super) fn end_if_activated(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Some(end_of_first_activation(self.lasts?, self.period.from, at))
    }
}

impl<'a> Timeline<'a> {
    /// At one instant.
    pub(super) fn at(amendments: impl Iterator<Item = &'a Amendment>, at: DateTime<Utc>) -> Self {
        Self::over(&amendments.collect::<Vec<_>>(), vec![at])
    }

    /// At an instant, and at each later one at which amendments take effect.
    pub(super) fn from(amendments: impl Iterator<Item = &'a Amendment>, at: DateTime<Utc>) -> Self {
        let amendments: Vec<&Amendment> = amendments.collect();
        let instants = instants_from(&amendments, at);
        Self::over(&amendments, instants)
    }

    fn over(amendments: &[&'a Amendment], instants: Vec<DateTime<Utc>>) -> Self {
        let applicable = applicable(amendments, &instants);
        Self::of(applicable, instants, true)
    }

    /// Of amendments that apply at these of the instants; `with_grants` with what they grant.
    pub(super) fn of(
        mut in_order: Vec<(&'a Amendment, Instants)>,
        instants: Vec<DateTime<Utc>>,
        with_grants: bool,
    ) -> Self {
        in_order.sort_unstable_by_key(|(it, _)| (it.effective_at, it.number));
        let mut timeline = Self {
            instants,
            grants: BTreeMap::new(),
            settings: Vec::new(),
        };
        let mut later = Later {
            with_grants,
            ..Later::default()
        };
        for (amendment, at) in in_order.into_iter().rev() {
            timeline.add(amendment, &at, &mut later);
        }
        timeline
    }

    /// Adds an amendment that applies at these instants, before those that were added.
    fn add(&mut self, amendment: &'a Amendment, at: &Instants, later: &mut Later<'a>) {
        // Another plan replaces what was granted before the plan of this amendment.
        let mut replaced = Instants::default();
        for (place, change) in amendment.changes.iter().enumerate().rev() {
            #[cfg(test)]
            applied::count();
            let origin = Origin {
                amendment: amendment.number,
                change: place,
            };
            match change {
                Change::Grant(_) | Change::End { .. } if !later.with_grants => continue,
                Change::Grant(entitlement) => {
                    let mut at = at.without(&replaced);
                    later.end_granted(&mut at, origin, &entitlement.key);
                    if !at.is_empty() {
                        self.grants.insert(origin, Granting { entitlement, at });
                    }
                    continue;
                }
                Change::End { key } => {
                    later.end(key, origin, at);
                    continue;
                }
                Change::Plan(_) => replaced.clone_from(&later.decided[PLAN]),
                _ => {}
            }
            let at = later.undecided(change, at);
            if !at.is_empty() {
                self.settings.push(Setting {
                    origin,
                    effective_at: amendment.effective_at,
                    change,
                    at,
                });
            }
        }
    }

    /// The license from an instant on.
    pub(super) fn state(&self, place: usize) -> State {
        State {
            from: self.instants[place],
            contents: self.contents(place),
        }
    }

    /// The license at an instant.
    pub(super) fn contents(&self, place: usize) -> Contents {
        let mut contents = self.without_grants(place);
        let granted = self.grants.iter();
        let granted = granted.filter(|(_, granting)| granting.at.contains(place));
        contents.granted = granted
            .map(|(origin, granting)| (*origin, granting.entitlement.clone()))
            .collect();
        contents
    }

    /// The license at an instant, apart from what it grants.
    pub(super) fn without_grants(&self, place: usize) -> Contents {
        let mut contents = Contents::default();
        for setting in self.settings.iter().rev() {
            if setting.at.contains(place) {
                contents.set(setting.origin, setting.change);
            }
        }
        contents
    }

    /// The license at all instants, apart from what it grants.
    pub(super) fn all_without_grants(&self) -> Vec<Contents> {
        let mut all = vec![Contents::default(); self.instants.len()];
        for setting in self.settings.iter().rev() {
            for place in setting.at.places() {
                all[place].set(setting.origin, setting.change);
            }
        }
        all
    }

    /// How many entitlements the license has at an instant.
    pub(super) fn count(&self, place: usize) -> usize {
        let granted = self.grants.values();
        granted.filter(|it| it.at.contains(place)).count()
    }

    /// The periods of the license at all instants.
    pub(super) fn bounds(&self) -> Vec<Bounds> {
        let places = 0..self.instants.len();
        let bounds = places.map(|place| {
            let license = self.without_grants(place);
            let is_end = |it: &&Setting<'_>| {
                it.at.contains(place) && matches!(it.change, Change::Expiry(_) | Change::Lasts(_))
            };
            Bounds {
                period: license.period(),
                lasts: license.lasts,
                end_set_at: self.settings.iter().find(is_end).map(|it| it.effective_at),
            }
        });
        bounds.collect()
    }
}

/// What is decided by changes that come later in the order in which they take effect.
#[derive(Default)]
struct Later<'a> {
    /// Whether anything is granted.
    with_grants: bool,
    /// When each field is decided.
    decided: [Instants; FIELDS],
    /// For each key, when something ends what changes before an origin granted: in the order of
    /// these, each with what all after it end as well.
    ends: HashMap<&'a FeatureKey, Vec<(Origin, Instants)>>,
}

const PLAN: usize = 0;
const FIELDS: usize = 12;

/// The fields of a license that a change decides, apart from what is granted.
fn fields(change: &Change) -> [bool; FIELDS] {
    let mut fields = [false; FIELDS];
    match change {
        Change::Grant(_) | Change::End { .. } => {}
        Change::Plan(_) => fields[PLAN] = true,
        Change::Customer(_) => fields[1] = true,
        Change::Start(_) => fields[2] = true,
        Change::Expiry(_) | Change::Lasts(_) => fields[3] = true,
        Change::Terms(_) => fields[4..].fill(true),
        Change::TermChanges(changes) => {
            let changed = [
                changes.seats.is_some(),
                changes.moves.is_some(),
                changes.moves_period_days.is_some(),
                changes.lease_hours.is_some(),
                changes.grace_hours.is_some(),
                changes.offline_days.is_some(),
                changes.updates_until.is_some(),
                changes.updates.is_some(),
            ];
            fields[4..].copy_from_slice(&changed);
        }
    }
    fields
}

impl<'a> Later<'a> {
    /// The instants among these at which no later change decides all that a change is about. From
    /// then on, it is decided.
    fn undecided(&mut self, change: &Change, at: &Instants) -> Instants {
        let mut undecided = Instants::default();
        for (decided, is_changed) in self.decided.iter_mut().zip(fields(change)) {
            if is_changed {
                undecided.add(&at.without(decided));
                decided.add(at);
            }
        }
        undecided
    }

    /// Removes the instants at which what a change grants has been ended.
    fn end_granted(&self, at: &mut Instants, origin: Origin, key: &FeatureKey) {
        let ends = self.ends.get(key).map(Vec::as_slice).unwrap_or_default();
        // What was granted after the end was recorded is not known to its author.
        if let Some((_, ended)) = ends.get(ends.partition_point(|(end, _)| *end < origin)) {
            at.remove(ended);
        }
    }

    /// Something ends what has this key at these instants.
    fn end(&mut self, key: &'a FeatureKey, origin: Origin, at: &Instants) {
        let ends = self.ends.entry(key).or_default();
        let place = ends.partition_point(|(end, _)| *end < origin);
        let mut all = at.clone();
        if let Some((_, after)) = ends.get(place) {
            if after.include(at) {
                return;
            }
            all.add(after);
        }
        ends.insert(place, (origin, all));
        for (_, ended) in ends[..place].iter_mut().rev() {
            if ended.include(at) {
                break;
            }
            ended.add(at);
        }
        // Not more than there are instants.
        ends.dedup_by(|later, earlier| {
            let is_same = later.1 == earlier.1;
            if is_same {
                earlier.0 = later.0;
            }
            is_same
        });
    }
}

#[cfg(test)]
pub(super) mod applied {
    use std::cell::Cell;

    thread_local! {
        static APPLIED: Cell<usize> = const { Cell::new(0) };
    }

    /// Counts a change that is applied.
    pub(super) fn count() {
        APPLIED.with(|applied| applied.set(applied.get() + 1));
    }

    /// How many changes this applies.
    pub(in crate::amendment) fn by(work: impl FnOnce()) -> usize {
        let before = APPLIED.with(Cell::get);
        work();
        APPLIED.with(Cell::get) - before
    }
}
