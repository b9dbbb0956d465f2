//! A license before and after each of its amendments.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::instants::{Instants, applicable_where, undone_where};
use super::timeline::Timeline;
use super::{Amendment, Contents, Origin};

/// Amendments whose steps are found in one pass: what a pass remembers grows with their number.
const AT_A_TIME: usize = 500;

/// A license when one of its amendments takes effect, as far as it was amended by then: without what
/// was recorded later, and apart from what it grants.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Before the amendment.
    pub before: Contents,
    /// After what it undoes is undone.
    pub undone: Contents,
    /// After all of its changes.
    pub after: Contents,
}

/// The steps of these amendments (`of`) of a license, in the same order. Each may be one of `amendments`, or
/// change less than the one there that has its number, or follow all of them.
///
/// A pass over all changes finds up to 500 steps together. The work for all steps of a
/// license therefore grows almost in proportion to its history.
#[must_use]
pub fn steps(amendments: &[Amendment], of: &[&Amendment]) -> Vec<Step> {
    let parts = of.chunks(AT_A_TIME);
    parts.flat_map(|part| part_of(amendments, part)).collect()
}

/// A license at an instant, with the amendments before one of them.
#[derive(Clone, Copy)]
struct View {
    at: DateTime<Utc>,
    /// The number of that amendment: only the changes of earlier ones apply.
    number: u32,
    /// Whether what that amendment undoes is undone.
    is_undone: bool,
}

fn part_of(amendments: &[Amendment], of: &[&Amendment]) -> Vec<Step> {
    let views: Vec<View> = of.iter().flat_map(|it| views(it)).collect();
    let numbers: HashSet<u32> = of.iter().map(|it| it.number).collect();
    let last = numbers.iter().max().copied().unwrap_or_default();
    let others = amendments.iter();
    let others = others.filter(|it| it.number < last && !numbers.contains(&it.number));
    // The changes of all of them apply, also of those that `of` changes less.
    let all: Vec<&Amendment> = amendments.iter().filter(|it| it.number < last).collect();
    let undoing: Vec<&Amendment> = others.chain(of.iter().copied()).collect();
    let undone = undone_where(&undoing, |amendment| {
        seen(&views, amendment, |view| {
            amendment.number < view.number || amendment.number == view.number && view.is_undone
        })
    });
    let applicable = applicable_where(&all, &undone, |amendment| {
        seen(&views, amendment, |view| amendment.number < view.number)
    });
    let instants = views.iter().map(|view| view.at).collect();
    let timeline = Timeline::of(applicable, instants, false);
    let mut contents = timeline.all_without_grants().into_iter();
    let steps = of.iter().filter_map(|amendment| {
        let before = contents.next()?;
        let undone = match amendment.undoes {
            Some(_) => contents.next()?,
            None => before.clone(),
        };
        let after = after(&undone, amendment);
        Some(Step {
            before,
            undone,
            after,
        })
    });
    steps.collect()
}

/// The views that the step of an amendment needs.
fn views(amendment: &Amendment) -> impl Iterator<Item = View> + use<> {
    let before = View {
        at: amendment.effective_at,
        number: amendment.number,
        is_undone: false,
    };
    let undone = amendment.undoes.map(|_| View {
        is_undone: true,
        ..before
    });
    [before].into_iter().chain(undone)
}

/// The views in which an amendment has taken effect, of those in which it is known.
fn seen(views: &[View], amendment: &Amendment, is_known: impl Fn(&View) -> bool) -> Instants {
    let places = views.iter().enumerate();
    let places = places.filter(|(_, view)| amendment.effective_at <= view.at && is_known(view));
    Instants::of_places(places.map(|(place, _)| place), views.len())
}

/// The license after the changes of an amendment. When that takes effect, its changes are the last
/// ones: earlier amendments took effect no later, or have not yet.
fn after(undone: &Contents, amendment: &Amendment) -> Contents {
    let mut after = undone.clone();
    for (place, change) in amendment.changes.iter().enumerate() {
        let origin = Origin {
            amendment: amendment.number,
            change: place,
        };
        after.set(origin, change);
    }
    after
}
