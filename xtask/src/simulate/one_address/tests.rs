use chrono::TimeDelta;

use super::*;

fn run(limit: Limit, outage: TimeDelta) -> AddressRecord {
    let timeline = Timeline::new(TimeDelta::hours(6), outage, TimeDelta::hours(12));
    let address = OneAddress {
        sites: 300,
        seed: 1,
        timeline,
        limit,
    };
    address.run(&Confirmation::signed_at(DateTime::UNIX_EPOCH).unwrap())
}

#[test]
fn limits_of_seats_delay_no_site() {
    for outage in [TimeDelta::zero(), TimeDelta::hours(24)] {
        let (limited, unlimited) = (run(Limit::EachSeat, outage), run(Limit::None, outage));
        assert_eq!(limited.calls, unlimited.calls);
        assert_eq!(limited.sites, unlimited.sites);
        assert!((1..=3).contains(&limited.most_used), "{limited:?}");
        assert_eq!(limited.sites.told_to_wait, 0);
    }
}

#[test]
fn a_limit_for_the_whole_address_would_starve_sites() {
    let (starved, unlimited) = (
        run(Limit::WholeAddress, TimeDelta::hours(24)),
        run(Limit::None, TimeDelta::hours(24)),
    );
    assert!(starved.sites.told_to_wait > 100);
    assert!(starved.sites.recovered_at > unlimited.sites.recovered_at);
}
