//! What an add-on key grants in words, for people: by the names of the catalogue.

use license_core::add_on::AddOnGrant;
use license_core::calendar_duration::CalendarDuration;

use crate::licensing::day_words::{first_day, last_day};
use crate::licensing::item_words::ItemNames;

/// What is granted, such as `16 cameras until 29 July 2027`, or `Map for 90 days`.
#[must_use]
pub fn grant_words(grant: &AddOnGrant, items: &ItemNames) -> String {
    let from = grant.from.map(|at| format!("from {}", first_day(at)));
    let until = grant.until.map(|at| format!("until {}", last_day(at)));
    let duration = grant.duration.map(CalendarDuration::in_words);
    let duration = duration.map(|words| format!("for {words}"));
    let bounds = [from, until, duration].into_iter().flatten();
    let granted = items.granted(&grant.key, grant.quantity);
    let parts: Vec<String> = std::iter::once(granted).chain(bounds).collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use license_core::entitlement::Quantity;

    use super::*;

    #[test]
    fn a_grant_reads_like_a_part_of_a_sentence() {
        let grant = AddOnGrant {
            key: "cameras".to_owned(),
            quantity: Some(Quantity::Of(16)),
            from: "2027-05-01T00:00:00Z".parse().ok(),
            until: "2027-07-29T23:59:59Z".parse().ok(),
            duration: None,
        };
        assert_eq!(
            grant_words(&grant, &ItemNames::default()),
            "16 cameras from 1 May 2027 until 29 July 2027"
        );
        let grant = AddOnGrant {
            key: "module.map_view".to_owned(),
            quantity: None,
            from: None,
            until: None,
            duration: "P90D".parse().ok(),
        };
        assert_eq!(
            grant_words(&grant, &ItemNames::default()),
            "module.map_view for 90 days"
        );
    }
}
