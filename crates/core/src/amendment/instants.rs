//! At which of several instants something is so.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::Amendment;

/// Some of the instants of a list, by their places in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Instants(Vec<u64>);

const BITS: usize = u64::BITS as usize;

impl Instants {
    /// All from the place `first` on, of `count` instants.
    pub(super) fn from_place(first: usize, count: usize) -> Self {
        Self::of_places(first..count, count)
    }

    /// Those of these places, of `count` instants.
    pub(super) fn of_places(places: impl Iterator<Item = usize>, count: usize) -> Self {
        let mut all = Self(vec![0; count.div_ceil(BITS)]);
        places.for_each(|place| all.0[place / BITS] |= 1 << (place % BITS));
        all
    }

    /// Their places, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate().filter(|(_, word)| **word != 0);
        words.flat_map(|(place, word)| {
            let bits = (0..BITS).filter(move |bit| word >> bit & 1 == 1);
            bits.map(move |bit| place * BITS + bit)
        })
    }

    pub(super) fn contains(&self, place: usize) -> bool {
        let word = self.0.get(place / BITS);
        word.is_some_and(|word| word >> (place % BITS) & 1 == 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Whether they contain all of the others.
    pub(super) fn include(&self, others: &Self) -> bool {
        others.without(self).is_empty()
    }

    pub(super) fn add(&mut self, others: &Self) {
        self.0.resize(self.0.len().max(others.0.len()), 0);
        for (word, other) in self.0.iter_mut().zip(&others.0) {
            *word |= other;
        }
    }

    pub(super) fn without(&self, others: &Self) -> Self {
        let mut left = self.clone();
        left.remove(others);
        left
    }

    pub(super) fn remove(&mut self, others: &Self) {
        for (word, other) in self.0.iter_mut().zip(&others.0) {
            *word &= !other;
        }
    }
}

/// The instants, which are in order, at which an amendment has taken effect.
fn effective(amendment: &Amendment, instants: &[DateTime<Utc>]) -> Instants {
    let first = instants.partition_point(|at| *at < amendment.effective_at);
    Instants::from_place(first, instants.len())
}

/// At which of these instants, which are in order, each amendment that is ever undone is undone.
pub(super) fn undone_at(
    amendments: &[&Amendment],
    instants: &[DateTime<Utc>],
) -> HashMap<u32, Instants> {
    undone_where(amendments, |amendment| effective(amendment, instants))
}

/// The same where each amendment that undoes another one has taken effect at `undoes`.
pub(super) fn undone_where(
    amendments: &[&Amendment],
    undoes: impl Fn(&Amendment) -> Instants,
) -> HashMap<u32, Instants> {
    let undoing = amendments.iter();
    let undoing = undoing.filter_map(|it| Some((it.number, it.undoes?, *it)));
    let mut undoing: Vec<(u32, u32, &Amendment)> = undoing.collect();
    undoing.sort_unstable_by_key(|(number, undoes, _)| (*number, *undoes));
    let mut undone: HashMap<u32, Instants> = HashMap::new();
    // An amendment undoes only earlier ones, so the last one is not undone.
    for (number, undone_one, amendment) in undoing.into_iter().rev() {
        let mut at = undoes(amendment);
        if let Some(undone) = undone.get(&number) {
            at.remove(undone);
        }
        undone.entry(undone_one).or_default().add(&at);
    }
    undone
}

/// At which of these instants each amendment applies: it has taken effect and is not undone.
pub(super) fn applicable<'a>(
    amendments: &[&'a Amendment],
    instants: &[DateTime<Utc>],
) -> Vec<(&'a Amendment, Instants)> {
    let undone = undone_at(amendments, instants);
    let is_effective = |amendment: &Amendment| effective(amendment, instants);
    applicable_where(amendments, &undone, is_effective)
}

/// The same where each amendment has taken effect at `effective`.
pub(super) fn applicable_where<'a>(
    amendments: &[&'a Amendment],
    undone: &HashMap<u32, Instants>,
    effective: impl Fn(&Amendment) -> Instants,
) -> Vec<(&'a Amendment, Instants)> {
    let applies = amendments.iter().map(|amendment| {
        let mut at = effective(amendment);
        if let Some(undone) = undone.get(&amendment.number) {
            at.remove(undone);
        }
        (*amendment, at)
    });
    applies.filter(|(_, at)| !at.is_empty()).collect()
}
