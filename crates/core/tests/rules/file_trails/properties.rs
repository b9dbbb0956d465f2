//! Any history of honest sites, and any lies in requests.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::open_leases::MAX_OPEN_LEASES;
use license_core::restored::number_at;
use proptest::prelude::*;

use super::seat::{LEASE, Machine, Request, Seat, nonce, online_for};
use crate::signer::T0;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_honest_site_is_suspected_whatever_becomes_of_its_files(
        events in prop::collection::vec((event(), 0_i64..60 * 24 * 20), 0..80),
        may_forget in any::<bool>(),
    ) {
        let (mut seat, mut site) = (Seat::new(), Machine::default());
        let (mut ahead, mut accidents) = (TimeDelta::zero(), 0);
        // Requests, and the answers to them, as they wait for somebody to carry them.
        let (mut written, mut signed) = (Vec::<(usize, Request)>::new(), Vec::new());
        // The nonces that the site remembers no more, by the order of its requests.
        let (mut requests, mut forgotten) = (0, 0..0);
        let mut backup = None;
        let mut heard_at = seat.at;
        let mut blind = 0;
        for (event, minutes) in &events {
            seat.pass(TimeDelta::minutes(*minutes));
            // Nobody carries a request for a month.
            let in_time = |at: DateTime<Utc>| seat.at - at < TimeDelta::days(29);
            written.retain(|(_, request)| in_time(request.written_at));
            match *event {
                Event::Call { is_lost } => {
                    let answer = seat.call(&site);
                    // Answers are not lost for longer than a lease is good, and a site that
                    // has forgotten everything asks again until it hears.
                    let may_be_lost = site.known.is_some()
                        && seat.at - heard_at < TimeDelta::days(2);
                    if !(is_lost && may_be_lost) {
                        site.takes(answer);
                        heard_at = seat.at;
                    }
                }
                Event::Heartbeat => {
                    // A site that has forgotten its license sends none.
                    if site.is_active {
                        seat.heartbeat(&site);
                    }
                    // A site that is not switched off validates daily.
                    if seat.at - heard_at >= TimeDelta::days(2) {
                        let answer = seat.call(&site);
                        site.takes(answer);
                        heard_at = seat.at;
                    }
                }
                Event::Write => {
                    let mut request = seat.write(&site);
                    request.written_at += ahead;
                    written.push((requests, request));
                    requests += 1;
                }
                // What became of more files than these, the site has not said, and it has lost its
                // number more than twice in a year: that is for a person to tell.
                Event::Sign(_) | Event::SignAndKeep(_)
                    if seat.trail.files.open.count(seat.at) >= MAX_OPEN_LEASES || blind >= 2 => {}
                Event::Sign(which) if !written.is_empty() => {
                    blind += u32::from(written[which % written.len()].1.newest_seq.is_none());
                    let (nonce, request) = written.remove(which % written.len());
                    signed.push((nonce, seat.sign(&request)));
                }
                Event::Import(which) if !signed.is_empty() => {
                    let (nonce, answer) = signed.remove(which % signed.len());
                    if Some(answer) > site.known && !forgotten.contains(&nonce) {
                        site.takes(answer);
                    }
                }
                Event::SignAndKeep(which) if !written.is_empty() => {
                    let (nonce, request) = &written[which % written.len()];
                    blind += u32::from(request.newest_seq.is_none());
                    signed.push((*nonce, seat.sign(request)));
                }
                Event::Sign(_) | Event::SignAndKeep(_) | Event::Import(_) => {}
                Event::Backup => backup = Some((site.clone(), requests)),
                // Each happens one time, and not while lost answers still count: two together are for a
                // person to tell.
                Event::Restore | Event::Forget if seat.trail.behind > 0 => {}
                Event::Restore if !may_forget && accidents == 0 => {
                    if let Some((before, first)) = backup.take() {
                        (site, accidents) = (before, 1);
                        forgotten = first..requests;
                    }
                }
                Event::Forget if may_forget && accidents == 0 => {
                    (site, accidents) = (Machine::default(), 1);
                    forgotten = 0..requests;
                }
                Event::Restore | Event::Forget => {}
                Event::Clock(seconds) => ahead = TimeDelta::seconds(seconds),
            }
            prop_assert_eq!(seat.shared, 0, "{:?}", event);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_more_leases_by_file_than_two_run_unreported_whatever_the_requests_say(
        // Which machine asks, what it says, how old its request claims to be, and the hours
        // until then.
        events in prop::collection::vec(
            (0_usize..6, prop::option::weighted(0.7, 0_u64..4), 0_i64..40, 0_i64..24 * 30), 0..60),
        has_site in any::<bool>(),
    ) {
        let (mut seat, mut site) = if has_site {
            online_for(3)
        } else {
            (Seat::new(), Machine::default())
        };
        // When each copy's newest lease ends.
        let mut copies = [(); 6].map(|()| (Machine::default(), T0));
        for (which, said, days, hours) in events {
            seat.pass(TimeDelta::hours(hours));
            let own = copies[which].0.known;
            let newest_seq = match said {
                None => None,
                Some(0) => own,
                // What the site knows, or what it may have known.
                Some(1) => site.known,
                Some(2) => site.known.map(|it| it - 1),
                // Near one of a file.
                Some(_) => {
                    let guess = number_at(seat.at - TimeDelta::days(days));
                    Some(guess.min(seat.trail.issued).saturating_sub(1))
                }
            };
            // Machines that tell each other their numbers look like one.
            let is_told = newest_seq != own && copies.iter().any(|it| it.0.known == newest_seq);
            let newest_seq = newest_seq.filter(|_| !is_told);
            let (copy, end) = &mut copies[which];
            let request = Request {
                newest_seq,
                is_activation: !copy.is_active || said == Some(2),
                written_at: seat.at - TimeDelta::days(days),
                nonce: nonce(),
            };
            copy.takes(seat.sign(&request));
            *end = seat.at + LEASE;
            if has_site {
                site.takes(seat.call(&site));
            }
            let running = copies.iter().filter(|(_, end)| *end > seat.at).count();
            prop_assert!(seat.shared > 0 || running <= MAX_OPEN_LEASES, "{running}");
        }
    }
}

/// What happens to an honest site.
#[derive(Clone, Copy, Debug)]
enum Event {
    Call {
        is_lost: bool,
    },
    Heartbeat,
    Write,
    Sign(usize),
    /// The file is kept, and may be signed again.
    SignAndKeep(usize),
    Import(usize),
    Backup,
    Restore,
    Forget,
    Clock(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => any::<bool>().prop_map(|is_lost| Event::Call { is_lost }),
        2 => Just(Event::Heartbeat),
        4 => Just(Event::Write),
        4 => any::<usize>().prop_map(Event::Sign),
        1 => any::<usize>().prop_map(Event::SignAndKeep),
        4 => any::<usize>().prop_map(Event::Import),
        1 => Just(Event::Backup),
        1 => Just(Event::Restore),
        1 => Just(Event::Forget),
        1 => (-600_i64..600).prop_map(Event::Clock),
    ]
}
