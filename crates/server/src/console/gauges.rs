//! The usage of a machine against what its license grants.

use std::collections::BTreeSet;

use license_console::gauge::Gauge;
use license_core::entitlement::Quantity;
use license_core::usage::{Resource, Usage};

use crate::licensing::item_words::ItemNames;

/// One gauge for each thing that is counted: cameras, users and storage, then everything else that
/// the license grants (`counted`) or the machine uses. Each is called what the catalogue calls it.
pub(super) fn gauges<'a>(
    usage: &'a Usage,
    counted: impl Iterator<Item = &'a String>,
    granted: impl Fn(&str) -> Quantity,
    items: &ItemNames,
) -> Vec<Gauge> {
    let used = usage.counts.iter().map(|(key, _)| key);
    let others: BTreeSet<&str> = counted.map(String::as_str).chain(used).collect();
    let resources = Resource::ALL.iter().map(|resource| resource.as_str());
    let all: Vec<&str> = resources.chain(others).collect();
    let all = all.into_iter();
    all.map(|key| Gauge::of(&items.name(key), usage.of(key), granted(key).number()))
        .collect()
}
