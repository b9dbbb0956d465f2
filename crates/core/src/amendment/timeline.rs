//! What a license consists of over time, in one pass over its amendments.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{Amendment, Contents, Origin, undone};

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
    let undone = undone(amendments, at);
    applied(&in_order(amendments), at, &undone)
}

/// The license at `at`, and from each later instant on at which amendments take effect that are
/// recorded already. The amendments may be in any order.
#[must_use]
pub fn states(amendments: &[Amendment], at: DateTime<Utc>) -> Vec<State> {
    let in_order = in_order(amendments);
    let mut undone_before = undone(amendments, at);
    let mut contents = applied(&in_order, at, &undone_before);
    let mut states = vec![State {
        from: at,
        contents: contents.clone(),
    }];
    let later = &in_order[in_order.partition_point(|it| it.effective_at <= at)..];
    for together in later.chunk_by(|one, other| one.effective_at == other.effective_at) {
        let Some(from) = together.first().map(|it| it.effective_at) else {
            continue;
        };
        let undone = undone(amendments, from);
        if undone == undone_before {
            apply_all(&mut contents, together.iter().copied(), &undone);
        } else {
            contents = applied(&in_order, from, &undone);
            undone_before = undone;
        }
        let contents = contents.clone();
        states.push(State { from, contents });
    }
    states
}

/// The amendments in the order in which they take effect.
fn in_order(amendments: &[Amendment]) -> Vec<&Amendment> {
    let mut in_order: Vec<&Amendment> = amendments.iter().collect();
    in_order.sort_unstable_by_key(|it| (it.effective_at, it.number));
    in_order
}

fn applied(in_order: &[&Amendment], at: DateTime<Utc>, undone: &BTreeSet<u32>) -> Contents {
    let mut contents = Contents::default();
    let effective = in_order.iter().take_while(|it| it.effective_at <= at);
    apply_all(&mut contents, effective.copied(), undone);
    contents
}

fn apply_all<'a>(
    contents: &mut Contents,
    amendments: impl Iterator<Item = &'a Amendment>,
    undone: &BTreeSet<u32>,
) {
    for amendment in amendments.filter(|it| !undone.contains(&it.number)) {
        for (place, change) in amendment.changes.iter().enumerate() {
            let origin = Origin {
                amendment: amendment.number,
                change: place,
            };
            contents.apply(origin, change);
        }
    }
}
