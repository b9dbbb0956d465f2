//! Copies that use files.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::restored::number_at;

use super::seat::{Machine, Request, Seat, day, nonce, online_for};
use crate::signer::T0;

#[test]
fn copies_that_activate_by_file_are_noticed_with_the_next_call_of_the_site() {
    let (mut seat, mut site) = online_for(3);
    for _ in 0..2 {
        let mut copy = Machine::default();
        seat.renew(&mut copy);
    }
    assert_eq!(seat.shared, 0, "it may be the site itself, installed again");
    seat.heartbeat(&site);
    assert_eq!(seat.shared, 1);
    site.takes(seat.call(&site));
}

#[test]
fn copies_whose_files_are_carried_for_days_are_noticed_when_they_renew() {
    let (mut seat, mut site) = online_for(3);
    let mut copy = Machine::default();
    let request = seat.write(&copy);
    for _ in 0..2 {
        day(&mut seat, &mut site);
    }
    copy.takes(seat.sign(&request));
    for _ in 0..60 {
        day(&mut seat, &mut site);
    }
    assert_eq!(
        seat.shared, 0,
        "it may be a request that the site wrote before"
    );
    let request = seat.write(&copy);
    for _ in 0..2 {
        day(&mut seat, &mut site);
    }
    copy.takes(seat.sign(&request));
    day(&mut seat, &mut site);
    assert_eq!(seat.shared, 1);
}

#[test]
fn a_copy_that_was_taken_later_is_noticed_too() {
    let (mut seat, mut site) = online_for(3);
    let mut copy = site.clone();
    seat.renew(&mut copy);
    for _ in 0..60 {
        day(&mut seat, &mut site);
    }
    assert_eq!(seat.shared, 0);
    seat.renew(&mut copy);
    day(&mut seat, &mut site);
    assert_eq!(seat.shared, 1);
}

#[test]
fn machines_that_are_all_without_internet_are_noticed_by_their_third_renewal() {
    for machines in [2, 3, 7] {
        for (renewals, every) in [(1, 80), (3, 25)] {
            let mut seat = Seat::new();
            let mut all = vec![Machine::default(); machines];
            for _ in 0..4 {
                for (number, machine) in all.iter_mut().enumerate() {
                    // The first one renews more often than the others.
                    for _ in 0..if number == 0 { renewals } else { 1 } {
                        seat.renew(machine);
                        seat.pass(TimeDelta::days(every));
                    }
                }
            }
            assert!(seat.shared > 0, "{machines} machines, {renewals}");
        }
    }
}

#[test]
fn request_files_that_lie_are_noticed_with_the_third_lease() {
    for lie in [Lie::None, Lie::Likely, Lie::Ahead, Lie::Old] {
        for is_activation in [true, false] {
            let (mut seat, mut site) = online_for(3);
            for _ in 0..3 {
                let hidden = matches!(lie, Lie::None | Lie::Old);
                let back = match lie {
                    Lie::Old => 300,
                    _ => 0,
                };
                let guess = match lie {
                    Lie::Likely => seat.at - TimeDelta::hours(5),
                    _ => seat.at + TimeDelta::hours(5),
                };
                let request = Request {
                    newest_seq: (!hidden).then(|| number_at(guess)),
                    is_activation: is_activation || !hidden,
                    written_at: seat.at - TimeDelta::days(back),
                    nonce: nonce(),
                };
                seat.sign(&request);
                for _ in 0..80 {
                    day(&mut seat, &mut site);
                }
            }
            assert!(seat.shared > 0, "{lie:?} {is_activation}");
        }
    }
}

/// What a copy may make up in its request files.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// It leaves the number out, as older programs do.
    None,
    /// It writes a number that the server may have issued.
    Likely,
    /// It writes a number that was never issued.
    Ahead,
    /// It writes that the request was written long ago.
    Old,
}

#[test]
fn renewals_that_repeat_an_old_number_and_its_time_are_noticed_with_the_third_lease() {
    // Copies of one machine ask one after another, or each for itself.
    for (every, longest) in [(91, 183), (35, 71), (7, 15), (1, 3)] {
        let (mut seat, mut site) = online_for(3);
        let copy = Request {
            newest_seq: site.known,
            is_activation: false,
            written_at: seat.at,
            nonce: 0,
        };
        let noticed = (0..400).find(|days| {
            day(&mut seat, &mut site);
            if days % every == 0 {
                seat.sign(&Request {
                    nonce: nonce(),
                    ..copy
                });
            }
            seat.shared > 0
        });
        assert!(
            noticed.is_some_and(|it| it <= longest),
            "{every}: {noticed:?}"
        );
    }
}

#[test]
fn renewals_that_invent_a_number_that_may_have_been_answered_are_noticed_with_the_third_lease() {
    for hours in [5, 30, 24 * 10, 24 * 29, 24 * 33, 24 * 37, 24 * 45, 24 * 70] {
        let (mut seat, mut site) = online_for(100);
        let noticed = (0..3).any(|_| {
            let written_at = seat.at - TimeDelta::hours(hours);
            seat.sign(&Request {
                newest_seq: Some(number_at(written_at) - 1),
                is_activation: false,
                written_at,
                nonce: nonce(),
            });
            for _ in 0..80 {
                day(&mut seat, &mut site);
            }
            seat.shared > 0
        });
        assert!(noticed, "{hours} hours ago");
    }
}

#[test]
fn request_files_may_say_any_time() {
    for written_at in [DateTime::<Utc>::MIN_UTC, DateTime::UNIX_EPOCH, T0] {
        let (mut seat, site) = online_for(3);
        let request = Request {
            written_at,
            ..seat.write(&site)
        };
        seat.sign(&request);
        seat.heartbeat(&site);
        assert_eq!(seat.shared, 0, "{written_at}");
    }
}

#[test]
fn many_more_files_displace_no_evidence() {
    let (mut seat, site) = online_for(3);
    let mut copy = Machine::default();
    for _ in 0..50 {
        seat.renew(&mut copy);
    }
    seat.heartbeat(&site);
    assert_eq!(seat.shared, 1);
    for _ in 0..100 {
        day(&mut seat, &mut Machine::default());
    }
    assert!(serde_json::to_string(&seat.trail.files).unwrap().len() < 3500);
}
