//! What request files tell: copies are noticed, and no honest site is suspected.

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use license_core::file_trail::FileTrail;
use license_core::open_leases::MAX_OPEN_LEASES;
use license_core::restored::{next_number, number_at};
use license_core::suspicion::{Report, Suspicion, Trail};
use proptest::prelude::*;

use crate::signer::T0;

/// A site, or a copy with the same ids.
#[derive(Clone, Default)]
struct Machine {
    known: Option<u64>,
    is_active: bool,
}

impl Machine {
    fn takes(&mut self, answer: u64) {
        self.known = self.known.max(Some(answer));
        self.is_active = true;
    }
}

/// A request file.
#[derive(Clone, Copy)]
struct Request {
    newest_seq: Option<u64>,
    is_activation: bool,
    written_at: DateTime<Utc>,
    nonce: u32,
}

/// Each request has its own nonce.
fn nonce() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A lease by file with its grace.
const LEASE: TimeDelta = TimeDelta::days(93);

/// A License Server's side of one seat that is held.
struct Seat {
    trail: Trail,
    at: DateTime<Utc>,
    shared: u32,
}

impl Seat {
    fn new() -> Self {
        let trail = Trail {
            installation_id: "a".into(),
            ..Trail::default()
        };
        Self {
            trail,
            at: T0,
            shared: 0,
        }
    }

    fn pass(&mut self, span: TimeDelta) {
        self.at += span;
    }

    fn call(&mut self, machine: &Machine) -> u64 {
        let report = Report {
            newest_seq: machine.known,
            is_activation: !machine.is_active,
            asks_for_lease: true,
            ..self.report()
        };
        self.follow(&report);
        self.trail.note_answer(&report, self.trail.issued);
        self.trail.issued
    }

    fn heartbeat(&mut self, machine: &Machine) {
        self.follow(&Report {
            newest_seq: machine.known,
            ..self.report()
        });
    }

    fn write(&self, machine: &Machine) -> Request {
        Request {
            newest_seq: machine.known,
            is_activation: !machine.is_active,
            written_at: self.at,
            nonce: nonce(),
        }
    }

    fn sign(&mut self, request: &Request) -> u64 {
        let has_lease = self.trail.issued > 0;
        let nonce = request.nonce.to_string();
        let report = Report {
            newest_seq: request.newest_seq,
            is_activation: request.is_activation,
            written_at: Some(request.written_at),
            has_running_lease: has_lease,
            asks_for_lease: true,
            nonce: &nonce,
            ..self.report()
        };
        self.follow(&report);
        let seq = self.trail.issued;
        let exp = self.at + LEASE;
        let found = self.trail.note_file(&report, seq, exp);
        self.shared += u32::from(found.is_some());
        seq
    }

    /// By file, at once.
    fn renew(&mut self, machine: &mut Machine) {
        let request = self.write(machine);
        machine.takes(self.sign(&request));
    }

    fn report(&self) -> Report<'static> {
        Report {
            installation_id: "a",
            longest_lease: TimeDelta::hours(96),
            at: self.at,
            ..Report::default()
        }
    }

    fn follow(&mut self, report: &Report<'_>) {
        // Through JSON, as it is stored.
        let files = serde_json::to_string(&self.trail.files).unwrap();
        self.trail.files = serde_json::from_str(&files).unwrap();
        let (trail, found) = self.trail.followed(report);
        self.trail = trail;
        assert!(found.iter().all(|it| *it == Suspicion::SharedIdentity));
        self.shared += u32::try_from(found.len()).unwrap();
        self.trail.issued = next_number(self.trail.issued, None, self.at);
    }
}

/// A day of a site with internet.
fn day(seat: &mut Seat, site: &mut Machine) {
    site.takes(seat.call(site));
    for _ in 0..5 {
        seat.pass(TimeDelta::hours(4));
        seat.heartbeat(site);
    }
    seat.pass(TimeDelta::hours(4));
}

fn online_for(days: usize) -> (Seat, Machine) {
    let (mut seat, mut site) = (Seat::new(), Machine::default());
    for _ in 0..days {
        day(&mut seat, &mut site);
    }
    assert_eq!(seat.shared, 0);
    (seat, site)
}

#[test]
fn copies_that_activate_by_file_are_noticed_with_the_next_call_of_the_site() {
    let (mut seat, mut site) = online_for(3);
    for _ in 0..2 {
        let mut copy = Machine::default();
        seat.renew(&mut copy);
    }
    assert_eq!(seat.shared, 0, "it may be the site itself, set up anew");
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
                // A site that is not switched off validates daily.
                Event::Heartbeat if seat.at - heard_at < TimeDelta::days(2) => {
                    seat.heartbeat(&site);
                }
                Event::Heartbeat => {}
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
                // Each happens one time; the two together are for a person to tell.
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
