use super::super::confirmation::Confirmation;
use super::*;

fn minutes(count: i64) -> TimeDelta {
    TimeDelta::minutes(count)
}

/// The document of all confirmations.
fn confirmation() -> Confirmation {
    Confirmation::signed_at(DateTime::UNIX_EPOCH).unwrap()
}

fn run(site: &mut Site, until: DateTime<Utc>, outage: std::ops::Range<DateTime<Utc>>) -> u64 {
    let (mut calls, mut now) = (0, site.next_call(START));
    while now < until {
        site.call_what_is_due(now, |_| {
            calls += 1;
            match outage.contains(&now) {
                true => Err(CallFailure::Unreachable),
                false => Ok(()),
            }
        });
        now = site.next_call(now);
    }
    calls
}

#[test]
fn one_document_serves_confirmations_at_any_time() {
    let (first, later) = (confirmation(), START + TimeDelta::days(3));
    let fresh = Confirmation::signed_at(later).unwrap();
    for number in 0..20 {
        let mut site = Site::new(&first, Random::of_site(1, number));
        site.calls.validation_wanted();
        site.call_what_is_due(later, |_| Ok(()));
        let mut evidence = fresh.evidence.clone();
        for offset in [0, 1, 600, 1439, 1440, 1441, 5759, 5760, 5761, 9000] {
            let now = later + minutes(offset);
            let stands = standing(&evidence, now, &POLICY);
            assert_eq!(stands.as_str(), site.standing(now).as_str(), "{offset}");
            let due = site.calls.due(&evidence, &stands, INTERVALS, now);
            assert_eq!(due, site.due(now), "{offset}");
        }
        // The same after failures, each of which is part of the evidence here.
        for offset in [0, 1, 60, 1000, 1440, 2000, 4319, 4320, 4321, 6000] {
            let now = later + minutes(offset);
            let failure = CallFailure::Unreachable;
            let validity = unsigned_validity(INTERVALS.validation);
            evidence = evidence.validated(&failure.contact(), now, validity);
            site.validate(Err(failure), now);
            let stands = standing(&evidence, now, &POLICY);
            assert_eq!(stands.as_str(), site.standing(now).as_str(), "{offset}");
            let due = site.calls.due(&evidence, &stands, INTERVALS, now);
            assert_eq!(due, site.due(now), "{offset}");
        }
    }
}

#[test]
fn a_healthy_site_calls_seven_or_eight_times_a_day() {
    let confirmation = confirmation();
    let mut site = Site::new(&confirmation, Random::of_site(1, 1));
    let days = 100;
    let end = START + TimeDelta::days(days);
    let calls = run(&mut site, end, START..START);
    // A heartbeat each 3.6 to 4 hours, a validation each 17.3 to 19.2 hours.
    assert!((725..=805).contains(&calls), "{calls}");
    assert_eq!(site.finish(end), Record::default());
}

#[test]
fn a_site_recovers_from_an_outage_within_an_hour_and_keeps_its_grace() {
    let confirmation = confirmation();
    let (from, until) = (START + TimeDelta::hours(1), START + TimeDelta::hours(25));
    for number in 0..100 {
        let mut site = Site::new(&confirmation, Random::of_site(2, number));
        run(&mut site, until + TimeDelta::hours(2), from..until);
        let record = site.finish(until + TimeDelta::hours(2));
        let recovered_at = record.recovered_at.unwrap();
        assert!((until..until + TimeDelta::hours(1)).contains(&recovered_at));
        let left = record.grace_left.unwrap();
        assert!(
            left >= GRACE - TimeDelta::hours(25) && left <= GRACE,
            "{left}"
        );
        assert!(!record.has_lapsed() && !record.is_unconfirmed);
    }
}

#[test]
fn a_site_lapses_in_an_outage_that_is_longer_than_its_grace_and_recovers() {
    let confirmation = confirmation();
    let (from, until) = (START, START + TimeDelta::hours(100));
    let mut site = Site::new(&confirmation, Random::of_site(3, 1));
    run(&mut site, until, from..until);
    assert_eq!(site.standing(until).as_str(), "lapsed");
    run(&mut site, until + TimeDelta::hours(1), from..until);
    assert_eq!(site.standing(until + TimeDelta::hours(1)), Standing::Active);
    let record = site.finish(until + TimeDelta::hours(1));
    assert!(record.has_lapsed() && !record.is_unconfirmed);
}

#[test]
fn a_site_that_is_told_to_wait_waits() {
    let confirmation = confirmation();
    let mut site = Site::new(&confirmation, Random::of_site(4, 1));
    let now = site.next_call(START);
    let wait = std::time::Duration::from_secs(600);
    site.call_what_is_due(now, |_| Err(CallFailure::TooManyCalls(wait)));
    assert!(site.record.told_to_wait > 0);
    assert!(site.next_call(now) >= now + minutes(10));
    assert!(site.next_call(now) <= now + minutes(11));
}
