//! What the vendor of a test sells in addition to the product's own features.

use license_core::catalogue::{CatalogueEntry, Kind};
use license_server::audit::Actor;
use license_server::licensing::plan_file::PlanFile;
use license_server::licensing::plans::apply;

use crate::harness::Vendor;

/// Adds features, and things that are counted, to the catalogue.
pub async fn sell(vendor: &Vendor, features: &[&str], counted: &[&str]) {
    let entry = |kind| {
        move |key: &&str| CatalogueEntry {
            key: (*key).to_owned(),
            kind,
            name: "Sold by a test".to_owned(),
            unit: String::new(),
            description: String::new(),
        }
    };
    let features = features.iter().map(entry(Kind::Feature));
    let counted = counted.iter().map(entry(Kind::Count));
    let file = PlanFile {
        catalogue: features.chain(counted).collect(),
        ..PlanFile::default()
    };
    let change = vendor.app.change(Actor::CommandLine);
    apply(&vendor.app.store, &file, &change, true)
        .await
        .unwrap();
}

/// So many features with keys of the maximum length.
pub fn longest_features(count: usize) -> Vec<String> {
    let key = |number| format!("{}{number:04}", "x".repeat(96));
    (0..count).map(key).collect()
}

/// Adds [`longest_features`] to the catalogue.
pub async fn sell_longest_features(vendor: &Vendor, count: usize) {
    let features = longest_features(count);
    let features: Vec<&str> = features.iter().map(String::as_str).collect();
    sell(vendor, &features, &[]).await;
}
