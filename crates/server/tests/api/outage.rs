//! A thousand sites behind one address after a day without the License Server, in
//! virtual time: with the schedule of the real client and the rates of the real
//! server.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::evidence::Evidence;
use license_core::license_key::LicenseKey;
use license_core::protocol::{self, ValidateRequest};
use license_core::response::{Contact, Question, Reply, Request as _, Trust};
use license_core::schedule::jitter::Jitter;
use license_core::schedule::retry::retry_after_delay;
use license_core::schedule::{next_heartbeat, next_validation, unsigned_validity};
use license_core::standing::{Policy, Standing, standing};
use license_server::rates::Rates;
use license_server::store::callers::CallerOfLicense;
use serde_json::json;

const SITES: usize = 1000;
/// Of these so many share one license with as many seats.
const SHARING: usize = 400;
const POLICY: Policy = Policy {
    grace: TimeDelta::hours(72),
    allow_unlicensed_core: true,
};
const VALIDATION: TimeDelta = TimeDelta::hours(24);
const HEARTBEAT: TimeDelta = TimeDelta::hours(4);

fn start() -> DateTime<Utc> {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn jitter(&mut self) -> Jitter {
        Jitter::from_bits(u32::try_from(self.next() >> 32).unwrap())
    }
}

/// A site as the client's `licensing/due.rs` sees it.
struct Site {
    license_key: String,
    evidence: Evidence,
    failures: u32,
    validated_at: DateTime<Utc>,
    validation_wanted: bool,
    heartbeat_at: DateTime<Utc>,
    not_before: Option<DateTime<Utc>>,
    jitters: (Jitter, Jitter),
    caller: CallerOfLicense,
    hardware_id: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Call {
    Validate,
    Heartbeat,
}

impl Site {
    fn new(number: usize, dice: &mut Dice) -> Self {
        let owner = if number < SHARING { 0 } else { number };
        let caller = CallerOfLicense {
            license_id: format!("license {owner}"),
            seats: if owner == 0 { 400 } else { 1 },
            holds_seat: true,
        };
        let key = u8::try_from(owner % 200).unwrap();
        let key = LicenseKey::from_random(&[key; 15]).unwrap().to_string();
        let spread = |dice: &mut Dice, span: TimeDelta| {
            let seconds = dice.next() % u64::try_from(span.num_seconds()).unwrap();
            start() - TimeDelta::seconds(i64::try_from(seconds).unwrap())
        };
        let validated_at = spread(dice, TimeDelta::hours(21));
        let mut site = Self {
            license_key: key,
            evidence: Evidence::default(),
            failures: 0,
            validated_at,
            validation_wanted: false,
            heartbeat_at: spread(dice, TimeDelta::hours(3)),
            not_before: None,
            jitters: (dice.jitter(), dice.jitter()),
            caller,
            hardware_id: format!("machine {number}"),
        };
        site.heard(&site.confirmation(), validated_at, dice);
        site
    }

    fn standing(&self, now: DateTime<Utc>) -> Standing {
        standing(&self.evidence, now, &POLICY)
    }

    fn due(&self, now: DateTime<Utc>) -> (DateTime<Utc>, Call) {
        let standing = self.standing(now);
        let (evidence, last) = (&self.evidence, self.validated_at);
        let (of_validation, of_heartbeat) = self.jitters;
        let failures = self.failures;
        let regular = next_validation(
            evidence,
            &standing,
            failures,
            last,
            VALIDATION,
            of_validation,
        );
        let validation = if self.validation_wanted {
            now
        } else {
            regular.unwrap()
        };
        let heartbeat = next_heartbeat(
            evidence,
            &standing,
            self.heartbeat_at,
            HEARTBEAT,
            of_heartbeat,
        );
        let heed = |at: DateTime<Utc>| self.not_before.map_or(at, |bound| at.max(bound));
        let (validation, heartbeat) = (heed(validation), heed(heartbeat.unwrap()));
        match heartbeat <= validation {
            true => (heartbeat, Call::Heartbeat),
            false => (validation, Call::Validate),
        }
    }

    fn confirmation(&self) -> Reply {
        let license = json!({"licenseKey": self.license_key, "status": "active"});
        let data = json!({"isValid": true, "license": license});
        let body = json!({"success": true, "data": data}).to_string();
        Reply::of(200, body.into_bytes(), None)
    }

    /// What the answer to a validation changes.
    fn heard(&mut self, reply: &Reply, now: DateTime<Utc>, dice: &mut Dice) {
        let question = Question {
            nonce: "",
            license_key: &self.license_key,
            installation_id: "",
            hardware_id: "",
            code_hash: None,
            newest_seq: None,
        };
        let contact = ValidateRequest::judge(reply, &question, &Trust::Unsigned);
        self.evidence = match (&contact, self.evidence.lease.is_some()) {
            (Contact::Confirmed(yes), false) => {
                let validity = unsigned_validity(VALIDATION);
                let lease = yes.lease(&self.license_key, now, validity).unwrap();
                self.evidence.activated(lease, now)
            }
            _ => self
                .evidence
                .validated(&contact, now, unsigned_validity(VALIDATION)),
        };
        self.validated_at = now;
        self.validation_wanted = false;
        self.jitters.0 = dice.jitter();
        self.failures = match contact {
            Contact::Confirmed(_) => 0,
            Contact::Denied(_) | Contact::None(_) => self.failures + 1,
        };
        self.heed(&contact, now, dice);
    }

    fn heed(&mut self, contact: &Contact, now: DateTime<Utc>, dice: &mut Dice) {
        if let Contact::None(why) = contact {
            let asked = why.retry_after();
            let bound = asked.map(|asked| now + retry_after_delay(asked, dice.jitter()));
            self.not_before = bound.or(self.not_before);
        }
    }
}

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    answered: u32,
    refused: u32,
    lapsed: u32,
    /// Sites that are not active at the end.
    not_active: usize,
    /// When the last site was confirmed after the outage.
    recovered: Option<TimeDelta>,
}

/// Lets the sites live through an outage of a day, and two days more. With
/// `together`, all clients are restarted at the instant at which it ends.
fn live(together: bool, with_guesser: bool) -> Outcome {
    let dice = &mut Dice(0x5eed_5eed_5eed_5eed);
    let rates = Rates::default();
    let address: IpAddr = "198.51.100.7".parse().unwrap();
    let running = |now: DateTime<Utc>| -> Duration { (now - start()).to_std().unwrap() };
    let mut sites: Vec<Site> = (0..SITES).map(|number| Site::new(number, dice)).collect();
    let end_of_outage = start() + TimeDelta::hours(24);
    let end = end_of_outage + TimeDelta::hours(48);
    let mut outcome = Outcome::default();
    let mut restarted = !together;
    let mut queue: BinaryHeap<_> = sites
        .iter()
        .enumerate()
        .map(|(number, site)| Reverse((site.due(start()).0.max(start()), number)))
        .collect();
    while let Some(Reverse((now, number))) = queue.pop() {
        if now > end {
            break;
        }
        if now >= end_of_outage && !restarted {
            restarted = true;
            queue.clear();
            for (number, site) in sites.iter_mut().enumerate() {
                site.validation_wanted = true;
                site.heartbeat_at = start() - HEARTBEAT;
                queue.push(Reverse((end_of_outage, number)));
            }
            continue;
        }
        if with_guesser {
            // A caller behind the same address tries keys far more often than that.
            for _ in 0..5 {
                rates.fail(address, running(now)).unwrap_or_default();
            }
        }
        let site = &mut sites[number];
        let (at, call) = site.due(now);
        if at <= now {
            let reply = if now < end_of_outage {
                Reply::of(502, Vec::new(), None)
            } else {
                match rates.call(
                    &site.caller,
                    &site.hardware_id,
                    protocol::Call::Validate,
                    running(now),
                ) {
                    Ok(()) => site.confirmation(),
                    Err(wait) => Reply::of(429, Vec::new(), Some(wait)),
                }
            };
            let is_answered = matches!(reply, Reply::Answer { status: 200, .. });
            if now >= end_of_outage {
                outcome.answered += u32::from(is_answered);
                outcome.refused += u32::from(!is_answered);
            }
            outcome.lapsed += u32::from(matches!(site.standing(now), Standing::Lapsed(_)));
            match call {
                Call::Validate => {
                    let was_lost = site.failures > 0;
                    site.heard(&reply, now, dice);
                    if was_lost && site.failures == 0 {
                        outcome.recovered = Some(now - end_of_outage);
                    }
                }
                Call::Heartbeat => {
                    site.heartbeat_at = now;
                    site.jitters.1 = dice.jitter();
                    site.validation_wanted |=
                        !is_answered || matches!(site.standing(now), Standing::Grace { .. });
                }
            }
        }
        let next = site.due(now).0.max(now);
        queue.push(Reverse((next, number)));
    }
    let is_active = |site: &&Site| site.standing(end) == Standing::Active;
    outcome.not_active = SITES - sites.iter().filter(is_active).count();
    outcome
}

#[test]
fn a_thousand_sites_behind_one_address_come_back_after_a_day() {
    for (together, with_guesser) in [(false, false), (false, true), (true, true)] {
        let outcome = live(together, with_guesser);
        let case = format!("together: {together}, guesser: {with_guesser}: {outcome:?}");
        println!("{case}");
        assert_eq!((outcome.refused, outcome.lapsed), (0, 0), "{case}");
        assert_eq!(outcome.not_active, 0, "{case}");
        assert!(outcome.answered > 13_000, "{case}");
        assert!(outcome.recovered.unwrap() <= TimeDelta::hours(1), "{case}");
    }
}

/// The simulation notices a rate that is too low: here the sites hold no seats, and
/// one license of 400 machines has 420 calls, and one more each minute.
#[test]
fn sites_that_share_one_rate_would_be_refused() {
    let rates = Rates::default();
    let newcomer = CallerOfLicense {
        license_id: "license".to_owned(),
        seats: 400,
        holds_seat: false,
    };
    let call = |number: usize| {
        rates.call(
            &newcomer,
            &number.to_string(),
            protocol::Call::Activate,
            Duration::from_secs(1),
        )
    };
    let admitted = (0..SITES).filter(|number| call(*number).is_ok());
    assert_eq!(admitted.count(), 420);
}
