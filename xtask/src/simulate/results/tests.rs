use super::*;

fn plan() -> Plan {
    Plan {
        sites: 1_000,
        outages: vec![1],
        seeds: 1,
        threads: 1,
    }
}

#[test]
fn a_fleet_that_has_lapsed_misses_the_target() {
    let confirmation = Confirmation::signed_at(DateTime::UNIX_EPOCH).unwrap();
    let fleet = |outage| plan().fleet(&confirmation, outage, 1).unwrap();
    assert_eq!(fleet(1).missed_target(), None);
    // Lapsed sites validate every 15 minutes.
    let lapsed = fleet(110);
    assert_eq!(lapsed.sites.lapsed, 1_000);
    let missed = lapsed.missed_target().unwrap();
    let start = "outage of 110 h, seed 1: the peak after the outage is ";
    assert!(missed.starts_with(start), "{missed}");
}

#[test]
fn a_site_that_is_starved_by_limits_is_a_missed_target() {
    let mut results = Results::run(plan()).unwrap();
    assert_eq!(results.missed_targets(), Vec::<String>::new());
    results.addresses[1].limited.sites.unconfirmed = 2;
    let missed = results.missed_targets();
    assert_eq!(missed.len(), 1, "{missed:?}");
    let expected = "outage of 1 h, seed 1: 2 sites lapsed or were not confirmed, 0 without";
    assert!(missed[0].contains(expected), "{missed:?}");
    results.addresses[1].unlimited.sites.lapsed = 2;
    assert_eq!(results.missed_targets(), Vec::<String>::new());
}
