use super::*;

fn run(sites: u64, seed: u64, outage: TimeDelta, threads: usize) -> FleetRecord {
    let timeline = Timeline::new(TimeDelta::hours(6), outage, TimeDelta::hours(12));
    let fleet = Fleet {
        sites,
        seed,
        timeline,
    };
    let confirmation = Confirmation::signed_at(DateTime::UNIX_EPOCH).unwrap();
    fleet.run(&confirmation, threads).unwrap()
}

#[test]
fn without_an_outage_the_rate_is_steady() {
    let record = run(5_000, 1, TimeDelta::zero(), 1);
    let rates = record.calls.rates();
    // One heartbeat each 3.8 hours and one validation each 18.24 hours, on average.
    let expected = 5_000.0 * (1.0 / 3.8 + 1.0 / 18.24) / 3600.0;
    assert!((rates.steady / expected - 1.0).abs() < 0.05, "{rates:?}");
    let hours = record.calls.curve(TimeDelta::hours(1));
    assert_eq!(hours.len(), 17);
    for (hour, rate) in hours {
        assert!((rate / expected - 1.0).abs() < 0.1, "{hour}: {rate}");
    }
    assert!(rates.ratio() < 2.0, "{rates:?}");
    assert_eq!(rates.surge, Some(TimeDelta::zero()));
    assert_eq!(record.sites, SiteRecords::default());
    assert_eq!(record.validations + record.heartbeats, record.calls.total());
}

#[test]
fn an_outage_raises_the_rate_and_delays_no_heartbeat() {
    let none = run(2_000, 1, TimeDelta::zero(), 1);
    let record = run(2_000, 1, TimeDelta::hours(6), 1);
    let rates = record.calls.rates();
    assert!(rates.peak_during > 5.0 * rates.steady, "{rates:?}");
    assert!(rates.ratio() > 3.0, "{rates:?}");
    assert!(rates.surge.unwrap() > TimeDelta::minutes(10), "{rates:?}");
    assert_eq!(record.sites.in_grace, 2_000);
    assert_eq!((record.sites.lapsed, record.sites.unconfirmed), (0, 0));
    // The second simulation is longer by a third.
    let more = record.heartbeats as f64 / none.heartbeats as f64;
    assert!((more - 24.0 / 18.0).abs() < 0.02, "{more}");
}

#[test]
fn a_seed_decides_the_result_and_the_number_of_threads_does_not() {
    let first = run(2_500, 7, TimeDelta::hours(1), 1);
    assert_eq!(first, run(2_500, 7, TimeDelta::hours(1), 3));
    assert_ne!(first, run(2_500, 8, TimeDelta::hours(1), 1));
}

#[test]
fn windows_have_as_many_calls_as_a_second_of_a_million_sites() {
    let windows = [1_000_000, 2_000_000, 20_000, 1_000].map(Fleet::window_seconds);
    assert_eq!(windows, [1, 1, 50, 1_000]);
}
