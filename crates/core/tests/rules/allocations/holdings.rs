//! What is stored for a seat.

use chrono::TimeDelta;
use license_core::allocation::{CLOCK_MARGIN, Holding, MAX_STEPS, Staircase};
use serde_json::json;

use super::{always, at, holding, staircase};

#[test]
fn the_documents_of_a_seat_count_as_the_greatest_amount_at_each_instant() {
    let totals = always(100);
    let all = holding(&[(24, 50), (48, 20)]);
    let all = all.with(&staircase(&[(36, 30), (96, 10)]), &totals, at(0));
    let expected = staircase(&[(24, 50), (36, 30), (48, 20), (96, 10)]);
    assert_eq!(*all.signed(), expected);
    assert_eq!(*all.newest(), staircase(&[(36, 30), (96, 10)]));
    let all = all.with(&staircase(&[(72, 60)]), &totals, at(0));
    assert_eq!(*all.signed(), staircase(&[(72, 60), (96, 10)]));
}

#[test]
fn steps_are_dropped_when_they_have_ended_by_every_clock() {
    let all = holding(&[(0, 50), (48, 20)]);
    assert_eq!(all.without_ended(at(0) + CLOCK_MARGIN), all);
    let after = at(0) + CLOCK_MARGIN + TimeDelta::seconds(1);
    assert_eq!(*all.without_ended(after).signed(), staircase(&[(48, 20)]));
    assert!(all.without_ended(at(1_000)).is_empty());
}

#[test]
fn a_holding_is_short_text() {
    let all = holding(&[(0, 50), (48, 20)]);
    let start = at(0).timestamp();
    let steps = json!([[start, 50], [start + 48 * 3600, 20]]);
    let text = serde_json::to_value(&all).unwrap();
    assert_eq!(text, json!({ "signed": steps, "newest": steps }));
    let read: Holding = serde_json::from_value(text).unwrap();
    assert_eq!(read, all);
    assert_eq!(serde_json::to_value(Holding::default()).unwrap(), json!({}));
}

#[test]
fn stored_steps_that_are_not_a_staircase_are_an_error() {
    for (steps, error) in [
        (json!([[5, 3], [5, 2]]), "does not end earlier"),
        (json!([[5, 3], [4, 2]]), "does not end earlier"),
        (json!([[5, 3], [6, 3]]), "amounts decrease"),
        (json!([[5, 3], [6, 0]]), "amounts decrease"),
        (json!([[5, -3]]), "invalid"),
    ] {
        let read = serde_json::from_value::<Staircase>(steps.clone());
        let message = read.unwrap_err().to_string();
        assert!(message.contains(error), "{steps}: {message}");
    }
}

#[test]
fn too_many_steps_are_merged_where_that_adds_least_and_the_total_does_not_fall() {
    let mut all = Holding::default();
    for step in 0..30 {
        let document = staircase(&[(100 + step, 1_000 - u64::try_from(step).unwrap() * 10)]);
        all = all.with(&document, &always(2_000), at(0));
    }
    assert_eq!(all.signed().steps().count(), MAX_STEPS);
    assert_eq!(all.signed().at(at(100)), 1_000);
    assert_eq!(all.signed().until(), Some(at(129)));
    for hour in 100..130 {
        let signed = 1_000 - u64::try_from(hour - 100).unwrap() * 10;
        let counted = all.signed().at(at(hour));
        assert!(
            (signed..signed + 50).contains(&counted),
            "{hour}: {counted}"
        );
    }
}

#[test]
fn nothing_of_a_seat_counts_after_its_place_was_passed_on() {
    let totals = always(100);
    let all = holding(&[(24, 50)]).with_place_passed_on();
    assert!(all.signed().is_empty() && !all.is_empty());
    assert_eq!(*all.passed_on(), staircase(&[(24, 50)]));
    let again = all.with(&staircase(&[(48, 5)]), &totals, at(0));
    assert_eq!(*again.signed(), staircase(&[(48, 5)]));
    let twice = again.with_place_passed_on();
    assert_eq!(*twice.passed_on(), staircase(&[(24, 50), (48, 5)]));
    assert!(twice.without_ended(at(50)).is_empty());
}
