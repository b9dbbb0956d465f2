//! What documents list as granted.

use chrono::{DateTime, TimeDelta, Utc};

use super::instants::Instants;
use super::timeline::{Bounds, Granting, State, Timeline};
use super::{Amendment, LAST_SECOND};
use crate::entitlement::{Entitlement, Period};

/// What is granted at `at` and later, as a lease that is signed then carries it: also what
/// amendments will add or end that are already recorded.
#[must_use]
pub fn coming(amendments: &[Amendment], at: DateTime<Utc>) -> Vec<Entitlement> {
    let licenses = Licenses::of(Timeline::from(amendments.iter(), at));
    licenses.lists(&Listing::coming(0)).collect()
}

/// The same without bounds that say nothing: starts that have passed, and ends that are the
/// license's own.
#[must_use]
pub fn listed(amendments: &[Amendment], at: DateTime<Utc>) -> Vec<Entitlement> {
    let licenses = Licenses::of(Timeline::from(amendments.iter(), at));
    licenses.lists(&licenses.document(0)).collect()
}

/// The license at `at`, and from each later instant on at which amendments take effect that are
/// recorded already, with the longest list of what is granted that its documents have then: as
/// [`listed`], or after a first activation has set the end (see
/// [`Contents::first_activated`](super::Contents::first_activated)).
pub fn documents(
    amendments: &[Amendment],
    at: DateTime<Utc>,
) -> impl Iterator<Item = (State, Vec<Entitlement>)> {
    let licenses = Licenses::of(Timeline::from(amendments.iter(), at));
    let entries = licenses.entries();
    (0..licenses.bounds.len()).map(move |place| {
        let activated = licenses.activated(place).map(|clips| Listing {
            clips: Some(clips),
            is_document: true,
            ..Listing::coming(place)
        });
        let listings = activated.chain([licenses.document(place)]);
        let longest = listings.max_by_key(|it| licenses.bytes(it, &entries));
        let list = longest.map(|it| licenses.lists(&it).collect());
        (licenses.timeline.state(place), list.unwrap_or_default())
    })
}

/// A license over time.
struct Licenses<'a> {
    timeline: Timeline<'a>,
    bounds: Vec<Bounds>,
}

/// How the end of the license bounds what it grants in one of its states.
#[derive(Clone, Copy, Debug)]
enum Clip {
    /// At this instant, or never.
    At(Option<DateTime<Utc>>),
    /// Wherever that is within the state.
    Apart,
}

/// A list of what is granted from an instant on.
struct Listing {
    /// The place of the instant.
    place: usize,
    /// How the license ends in each state from there on; `None` if as it is amended.
    clips: Option<Vec<Clip>>,
    /// The end of the license that the document states itself.
    own_end: Option<DateTime<Utc>>,
    is_document: bool,
}

impl Listing {
    fn coming(place: usize) -> Self {
        Self {
            place,
            clips: None,
            own_end: None,
            is_document: false,
        }
    }
}

impl<'a> Licenses<'a> {
    fn of(timeline: Timeline<'a>) -> Self {
        let bounds = timeline.bounds();
        Self { timeline, bounds }
    }

    /// The document that is signed at an instant.
    fn document(&self, place: usize) -> Listing {
        Listing {
            own_end: self.bounds[place].period.until,
            is_document: true,
            ..Listing::coming(place)
        }
    }

    /// How the license may end in the states from a place on after a first activation until then: if
    /// that sets the end at that place, and if it does not.
    fn activated(&self, place: usize) -> impl Iterator<Item = Vec<Clip>> {
        let awaited = self.bounds[..=place].iter().zip(&self.timeline.instants);
        let awaited = awaited.filter(|(bounds, _)| bounds.lasts.is_some());
        let activated: Vec<DateTime<Utc>> = awaited.map(|(_, at)| *at).collect();
        // It sets the end where no amendment sets it that takes effect later. So a later activation
        // sets it wherever an earlier one does.
        let is_set = |at: &&DateTime<Utc>| self.bounds[place].end_set_at <= Some(**at);
        let own = activated.iter().find(is_set).zip(activated.last());
        let own = own.map(|(first, last)| self.clips(place, Some(*first), *last));
        let other = activated.iter().rev().find(|at| !is_set(at));
        let other = other.map(|last| self.clips(place, None, *last));
        own.into_iter().chain(other)
    }

    /// How the license ends in the states from a place on after an activation, which was at `last` at
    /// the latest. If it sets the end at that place, it was at `own` at the earliest. The end may lie
    /// in any state.
    fn clips(&self, place: usize, own: Option<DateTime<Utc>>, last: DateTime<Utc>) -> Vec<Clip> {
        let mut is_own = true;
        let clips = self.bounds[place..].iter().map(|bounds| {
            is_own &= own.is_some() && bounds.end_set_at <= own;
            match bounds.end_set_at <= Some(last) {
                // The document states this end itself, so what follows later is joined.
                true if is_own => Clip::At(None),
                true => Clip::Apart,
                false => Clip::At(bounds.period.until),
            }
        });
        clips.collect()
    }

    fn lists(&self, listing: &Listing) -> impl Iterator<Item = Entitlement> {
        let grants = self.timeline.grants.values();
        grants.flat_map(move |granting| {
            let periods = self.periods(granting, listing);
            periods.into_iter().map(|period| Entitlement {
                period,
                ..granting.entitlement.clone()
            })
        })
    }

    /// How long a list is in a document, in bytes, where each entry has this length without bounds.
    fn bytes(&self, listing: &Listing, entries: &[usize]) -> usize {
        const FROM_BYTES: usize = r#","from":"2027-07-29T23:59:59Z""#.len();
        const UNTIL_BYTES: usize = r#","until":"2027-07-29T23:59:59Z""#.len();
        let grants = self.timeline.grants.values().zip(entries);
        let bytes = grants.map(|(granting, entry)| {
            let periods = self.periods(granting, listing);
            let lengths = periods.iter().map(|it| {
                entry
                    + FROM_BYTES * usize::from(it.from.is_some())
                    + UNTIL_BYTES * usize::from(it.until.is_some())
            });
            lengths.sum::<usize>()
        });
        bytes.sum()
    }

    /// The lengths of the entries without bounds. Features are named a second time in a document.
    fn entries(&self) -> Vec<usize> {
        let grants = self.timeline.grants.values();
        let entries = grants.map(|granting| {
            let entry = Entitlement {
                period: Period::ALWAYS,
                ..granting.entitlement.clone()
            };
            let named = match entry.quantity {
                Some(_) => 0,
                None => entry.key.as_str().len() + r#""","#.len(),
            };
            entry.to_json().to_string().len() + ",".len() + named
        });
        entries.collect()
    }

    /// When something is granted.
    fn periods(&self, granting: &Granting<'_>, listing: &Listing) -> Vec<Period> {
        let at = self.timeline.instants[listing.place];
        let mut periods: Vec<Period> = Vec::new();
        let mut was_apart = false;
        for place in places(&granting.at, listing.place, self.bounds.len()) {
            let (segment, is_apart) = self.segment(place, listing);
            let Some(period) = segment.and_then(|it| it.and(&granting.entitlement.period)) else {
                continue;
            };
            match periods.last_mut() {
                Some(last) if !is_apart && !was_apart && listing.joins(last, &period) => {
                    last.until = period.until;
                }
                _ => periods.push(period),
            }
            was_apart = is_apart;
        }
        periods.retain(|it| it.until.is_none_or(|until| at <= until));
        if listing.is_document {
            for period in &mut periods {
                period.from = period.from.filter(|from| at < *from);
                period.until = period.until.filter(|it| Some(*it) != listing.own_end);
            }
        }
        periods
    }

    /// When anything is in force in a state, and whether that may end anywhere in it.
    fn segment(&self, place: usize, listing: &Listing) -> (Option<Period>, bool) {
        let license = self.bounds[place].period;
        let clips = listing.clips.as_ref();
        let clip = clips.and_then(|it| it.get(place - listing.place));
        let (until, is_apart) = match clip {
            None => (license.until, false),
            Some(Clip::At(until)) => (*until, false),
            Some(Clip::Apart) => (Some(LAST_SECOND), true),
        };
        let license = Period { until, ..license };
        let next = self.timeline.instants.get(place + 1);
        let segment = Period {
            from: (place > listing.place).then(|| self.timeline.instants[place]),
            // Documents carry whole seconds.
            until: next.and_then(|it| it.checked_sub_signed(TimeDelta::seconds(1))),
        };
        (license.and(&segment), is_apart)
    }
}

impl Listing {
    /// Whether one period continues another one: it begins in the second after it has ended, or the
    /// other one ends with the license, which the document states itself.
    fn joins(&self, one: &Period, next: &Period) -> bool {
        let ends_with_license = self.own_end.is_some() && one.until == self.own_end;
        let after = one
            .until
            .and_then(|until| until.checked_add_signed(TimeDelta::seconds(1)));
        after.is_some() && (ends_with_license || after == next.from)
    }
}

/// The places from `first` on.
fn places(at: &Instants, first: usize, count: usize) -> impl Iterator<Item = usize> {
    (first..count).filter(|place| at.contains(*place))
}
