//! Any history of honest sites, and any lies in requests.

use std::ops::Range;

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
        let mut history = History::new(may_forget);
        for (event, minutes) in &events {
            history.pass(TimeDelta::minutes(*minutes));
            history.happens(*event);
            prop_assert_eq!(history.seat.shared, 0, "{:?}", event);
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

/// What has happened to an honest site.
struct History {
    seat: Seat,
    site: Machine,
    /// Whether its accident is to forget everything, instead of being restored.
    may_forget: bool,
    has_had_accident: bool,
    heard_at: DateTime<Utc>,
    /// How far its clock is ahead.
    ahead: TimeDelta,
    /// The number of requests written.
    requests: usize,
    /// Requests that wait to be carried, with their number …
    written: Vec<(usize, Request)>,
    /// … and answers to them.
    signed: Vec<(usize, u64)>,
    /// Requests that the site no longer remembers.
    forgotten: Range<usize>,
    /// The site, and the number of its next request.
    backup: Option<(Machine, usize)>,
    /// The number of signed requests without a sequence number.
    blind: u32,
}

impl History {
    fn new(may_forget: bool) -> Self {
        let seat = Seat::new();
        Self {
            heard_at: seat.at,
            seat,
            site: Machine::default(),
            may_forget,
            has_had_accident: false,
            ahead: TimeDelta::zero(),
            requests: 0,
            written: Vec::new(),
            signed: Vec::new(),
            forgotten: 0..0,
            backup: None,
            blind: 0,
        }
    }

    fn pass(&mut self, span: TimeDelta) {
        self.seat.pass(span);
        // No request is carried for a month.
        let now = self.seat.at;
        self.written
            .retain(|(_, request)| now - request.written_at < TimeDelta::days(29));
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Call { is_lost } => {
                // Answers are not lost for longer than a lease is valid, and a site that has
                // forgotten everything asks again until it gets one.
                let may_be_lost = self.site.known.is_some() && !self.is_overdue();
                if is_lost && may_be_lost {
                    self.seat.call(&self.site);
                } else {
                    self.validate();
                }
            }
            Event::Heartbeat => {
                // A site that has forgotten its license sends none.
                if self.site.is_active {
                    self.seat.heartbeat(&self.site);
                }
                // A site that is not switched off validates daily.
                if self.is_overdue() {
                    self.validate();
                }
            }
            Event::Write => {
                let mut request = self.seat.write(&self.site);
                request.written_at += self.ahead;
                self.written.push((self.requests, request));
                self.requests += 1;
            }
            Event::Sign(which) => self.sign(which, false),
            Event::SignAndKeep(which) => self.sign(which, true),
            Event::Import(which) if !self.signed.is_empty() => {
                let (number, answer) = self.signed.remove(which % self.signed.len());
                if Some(answer) > self.site.known && !self.forgotten.contains(&number) {
                    self.site.takes(answer);
                }
            }
            Event::Import(_) => {}
            Event::Backup => self.backup = Some((self.site.clone(), self.requests)),
            Event::Restore if self.may_have_accident() && !self.may_forget => {
                if let Some((before, first)) = self.backup.take() {
                    self.has_accident(before, first);
                }
            }
            Event::Forget if self.may_have_accident() && self.may_forget => {
                self.has_accident(Machine::default(), 0);
            }
            Event::Restore | Event::Forget => {}
            Event::Clock(seconds) => self.ahead = TimeDelta::seconds(seconds),
        }
    }

    fn is_overdue(&self) -> bool {
        self.seat.at - self.heard_at >= TimeDelta::days(2)
    }

    fn validate(&mut self) {
        self.site.takes(self.seat.call(&self.site));
        self.heard_at = self.seat.at;
    }

    fn sign(&mut self, which: usize, is_kept: bool) {
        // If there are more files than these whose fate the site has not reported, or it has lost
        // its number more than twice in a year, a person must decide.
        let open = self.seat.trail.files.open.count(self.seat.at);
        if open >= MAX_OPEN_LEASES || self.blind >= 2 || self.written.is_empty() {
            return;
        }
        let index = which % self.written.len();
        let (number, request) = match is_kept {
            true => self.written[index],
            false => self.written.remove(index),
        };
        self.blind += u32::from(request.newest_seq.is_none());
        self.signed.push((number, self.seat.sign(&request)));
    }

    /// One accident, and not while lost answers still count: two together are for a person to
    /// decide.
    fn may_have_accident(&self) -> bool {
        self.seat.trail.behind == 0 && !self.has_had_accident
    }

    /// The site is as it was before its request `first`.
    fn has_accident(&mut self, before: Machine, first: usize) {
        self.site = before;
        self.has_had_accident = true;
        self.forgotten = first..self.requests;
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
