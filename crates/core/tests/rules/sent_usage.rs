//! The usage that a site sends with a heartbeat.

use license_core::feature::FeatureKey;
use license_core::protocol::UsageMetrics;
use license_core::usage::sent::{MAX_HEADER_BYTES, header, received};
use license_core::usage::{Counts, MAX_KEYS, Usage};
use proptest::collection::btree_map;
use proptest::prelude::*;

fn usage(
    cameras: Option<u64>,
    users: Option<u64>,
    storage_gb: Option<u64>,
    counts: &[(&str, u64)],
) -> Usage {
    let counts = counts.iter();
    let counts = counts.map(|(key, amount)| (FeatureKey::parse(key).unwrap(), *amount));
    Usage {
        cameras,
        users,
        storage_gb,
        counts: counts.collect(),
    }
}

#[test]
fn the_header_says_what_is_known_and_the_body_stays_that_of_version_1() {
    let usage = usage(
        Some(12),
        None,
        Some(0),
        &[("anpr_lanes", 4), ("Türen, alle", 2)],
    );
    let text = "cameras=12,users=?,storage_gb=0,T%C3%BCren%2C%20alle=2,anpr_lanes=4";
    assert_eq!(header(&usage), text);
    let body = UsageMetrics::of(&usage);
    let expected = UsageMetrics {
        cameras_in_use: 12,
        users_active: 0,
        storage_used_gb: 0,
    };
    assert_eq!(body, expected);
    assert_eq!(received(body, Some(text)), usage);
    assert_eq!(header(&Usage::default()), "cameras=?,users=?,storage_gb=?");
}

#[test]
fn without_a_readable_header_the_numbers_count_unless_all_are_zero() {
    let numbers = UsageMetrics {
        cameras_in_use: 3,
        users_active: 0,
        storage_used_gb: 0,
    };
    let known = usage(Some(3), Some(0), Some(0), &[]);
    for header in [
        None,
        Some(""),
        Some("x"),
        Some("cameras"),
        Some("=1"),
        Some("a b=1"),
    ] {
        assert_eq!(received(numbers, header), known, "{header:?}");
        // Version 1.0.0 always sends zeros.
        assert_eq!(received(UsageMetrics::default(), header), Usage::default());
    }
    let zero = usage(Some(0), None, None, &[]);
    assert_eq!(received(UsageMetrics::default(), Some("cameras=0")), zero);
}

#[test]
fn entries_that_cannot_be_read_are_ignored() {
    let text = "cameras=1, users=-1,storage_gb=1.5,doors=,lanes=%zz,%FF=1,gates=2,b%2=3,%=4,";
    let expected = usage(Some(1), None, None, &[("gates", 2)]);
    assert_eq!(received(UsageMetrics::default(), Some(text)), expected);
    let numbered = |count: usize| {
        let entries = (0..count).map(|it| format!("key{it}=1"));
        entries.collect::<Vec<_>>().join(",")
    };
    let many = received(UsageMetrics::default(), Some(&numbered(400)));
    assert_eq!(many.counts.len(), MAX_KEYS + 3);
    let too_long = received(UsageMetrics::default(), Some(&numbered(1000)));
    assert_eq!(too_long, Usage::default());
}

fn amount() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(prop_oneof![0..10_u64, any::<u64>()])
}

fn any_usage() -> impl Strategy<Value = Usage> {
    let counts = btree_map("[^\u{0}]{1,100}|[a-z_.]{1,30}", any::<u64>(), 0..=MAX_KEYS);
    (amount(), amount(), amount(), counts).prop_map(|(cameras, users, storage_gb, counts)| {
        let counts = counts.into_iter();
        let counts = counts.map(|(key, amount)| (FeatureKey::parse(&key).unwrap(), amount));
        Usage {
            cameras,
            users,
            storage_gb,
            counts: counts.collect(),
        }
    })
}

proptest! {
    #[test]
    fn what_is_received_is_what_is_known_as_far_as_it_fits(usage in any_usage()) {
        let text = header(&usage);
        prop_assert!(text.len() <= MAX_HEADER_BYTES);
        prop_assert!(text.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{}", text);
        let received = received(UsageMetrics::of(&usage), Some(&text));
        prop_assert_eq!(
            (received.cameras, received.users, received.storage_gb),
            (usage.cameras, usage.users, usage.storage_gb)
        );
        for (key, amount) in received.counts.iter() {
            prop_assert_eq!(usage.counts.get(key), Some(amount));
        }
        let all_fit = usage.counts.iter().map(|(key, _)| 3 * key.len() + 22).sum::<usize>() < 6000;
        prop_assert!(!all_fit || received == usage);
    }

    #[test]
    fn the_greatest_usage_does_not_depend_on_the_order_while_there_is_room(
        one in any_usage(),
        other in any_usage(),
    ) {
        let greatest = one.greatest(&other);
        prop_assert!(greatest.counts.len() <= MAX_KEYS.max(one.counts.len()));
        prop_assert_eq!(greatest.cameras, other.greatest(&one).cameras);
        for (key, amount) in greatest.known() {
            prop_assert_eq!(one.of(key).max(other.of(key)), Some(amount));
        }
        for (key, _) in one.known() {
            prop_assert!(greatest.of(key).is_some());
        }
        prop_assert_eq!(&one.greatest(&one), &one);
        prop_assert_eq!(&one.greatest(&Usage { counts: Counts::default(), ..Usage::default() }), &one);
    }
}
