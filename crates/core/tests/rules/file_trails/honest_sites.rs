//! Honest sites whose files are late, lost or overtaken.

use chrono::TimeDelta;
use license_core::file_trail::FileTrail;

use super::seat::{Machine, Request, Seat, day, nonce, online_for};
use crate::signer::T0;

#[test]
fn a_renewal_that_is_carried_late_is_not_suspected_however_often() {
    for every in [1, 5, 20, 29] {
        let (mut seat, mut site) = online_for(3);
        for _ in 0..8 {
            let request = seat.write(&site);
            for _ in 0..every {
                day(&mut seat, &mut site);
            }
            // The file is signed twice, and imported before the next request is written.
            seat.sign(&request);
            site.takes(seat.sign(&request));
            day(&mut seat, &mut site);
            assert_eq!(seat.shared, 0, "{every}");
        }
    }
}

#[test]
fn three_files_that_are_signed_and_never_heard_of_are_for_a_person_to_tell() {
    for is_activation in [true, false] {
        for newest_seq in [None, Some(0), Some(1), Some(2)] {
            let (mut seat, site) = online_for(3);
            let known = newest_seq.and_then(|back| site.known.map(|it| it - back));
            for count in 0..4 {
                assert_eq!(seat.shared, u32::from(count > 2), "{count}");
                // However old they claim to be.
                seat.sign(&Request {
                    newest_seq: known,
                    is_activation,
                    written_at: T0,
                    nonce: nonce(),
                });
            }
        }
    }
}

#[test]
fn each_thing_that_befalls_an_honest_machine_without_internet_is_not_suspected() {
    // It renews daily, for two years.
    let (mut seat, mut site) = (Seat::new(), Machine::default());
    for _ in 0..730 {
        seat.renew(&mut site);
        seat.pass(TimeDelta::days(1));
    }
    assert_eq!(seat.shared, 0);
    // It is reinstalled after some months, twice in the year.
    for _ in 0..2 {
        site = Machine::default();
        for _ in 0..4 {
            seat.renew(&mut site);
            seat.pass(TimeDelta::days(40));
        }
    }
    assert_eq!(seat.shared, 0);
    for _ in 0..8 {
        seat.pass(TimeDelta::days(50));
        // One file is lost, or two requests are written before an answer is imported.
        let requests = [seat.write(&site), seat.write(&site)];
        let answers = requests.map(|it| seat.sign(&it));
        site.takes(answers[1]);
        seat.pass(TimeDelta::days(50));
        seat.renew(&mut site);
    }
    // It has internet for some days, on a bad line.
    for _ in 0..10 {
        seat.renew(&mut site);
        seat.call(&site);
        seat.call(&site);
        site.takes(seat.call(&site));
        seat.call(&site);
        seat.pass(TimeDelta::days(1));
    }
    assert_eq!(seat.shared, 0);
}

#[test]
fn sites_whose_files_were_signed_before_there_was_a_trail_are_not_suspected() {
    let mut seat = Seat::new();
    let mut site = Machine::default();
    seat.renew(&mut site);
    seat.trail.files = FileTrail::default();
    for is_lost in [true, false, true, false] {
        seat.pass(TimeDelta::days(50));
        let request = seat.write(&site);
        let answer = seat.sign(&request);
        if !is_lost {
            site.takes(answer);
        }
    }
    day(&mut seat, &mut site);
    assert_eq!((seat.shared, seat.trail.behind), (0, 0));
}
