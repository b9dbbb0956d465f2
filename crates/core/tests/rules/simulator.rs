//! A site lives through whatever a seed brings: outages, proxies, clocks that
//! step, reboots, kills, files restored, licenses suspended and given back. At
//! every step the invariants are checked.
//!
//! `SIMULATED_HOURS` says for how long, `SIMULATOR_SEED` from which seed on; a
//! failure names the seed of its site.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::contact::{Contact, Question, Reply, TransportFailure, Trust};
use license_core::document::{DenialReason, verify_denial, verify_license};
use license_core::evidence::Evidence;
use license_core::feature::CORE_FEATURES;
use license_core::gate::{Entitlements, decide};
use license_core::lease::Lease;
use license_core::schedule::{Jitter, next_validation, unsigned_validity};
use license_core::standing::{LapseReason, Policy, Standing, standing};
use license_core::time_guard::{Believed, Readings, TimeGuard};
use serde_json::json;

use crate::signer::{
    HARDWARE, INSTALLATION, KEY, Signer, T0, denial_claims, license_claims, validation,
};

const PAID: &str = "module.map_view";
const USUAL_HOURS: u64 = 40_000;
/// How long one site is watched.
const SITE_HOURS: i64 = 2_000;
/// How often the clocks are looked at, and the time is kept, at the least.
const KEPT_EVERY: TimeDelta = TimeDelta::minutes(5);

/// A small generator of random numbers (Marsaglia, "Xorshift RNGs").
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn up_to(&mut self, most: TimeDelta) -> TimeDelta {
        let most = u64::try_from(most.num_seconds()).unwrap();
        TimeDelta::seconds(i64::try_from(self.roll(most + 1)).unwrap())
    }
}

/// How the way to the License Server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    Cut,
    Portal,
    Fault,
    /// Somebody answers with what was recorded.
    Replays,
    /// Somebody answers with documents of his own key.
    Forges,
}

struct World {
    dice: Dice,
    vendor: Signer,
    stranger: Signer,
    trust: Trust,
    /// The true time.
    truth: DateTime<Utc>,
    way: Way,
    suspended: bool,
    seq: u64,
    recorded: Vec<Vec<u8>>,
    denials_issued: u64,

    // The machine.
    wall_off: TimeDelta,
    battery: bool,
    running: Duration,
    since_boot: Duration,
    boots: u64,

    // The process, and what it keeps.
    guard: TimeGuard,
    kept_time: Believed,
    kept_at: DateTime<Utc>,
    evidence: Evidence,
    stored: Evidence,
    restorable: Option<Evidence>,
    validated_at: DateTime<Utc>,
    failures: u32,

    // What is checked.
    policy: Policy,
    last_effective: DateTime<Utc>,
    /// Running time since the lease was signed, with what may not be counted.
    since_confirmed: TimeDelta,
    since_lease: TimeDelta,
    forgiven: TimeDelta,
    failed_since_confirmed: bool,
    restored: bool,
    highest_seq: u64,
    steps: u64,
    validations: u64,
}

#[expect(clippy::disallowed_methods, reason = "a test has no config.rs")]
fn number(variable: &str, usual: u64) -> u64 {
    let number = std::env::var(variable).ok();
    number.map_or(usual, |number| number.parse().unwrap())
}

#[test]
fn the_invariants_hold_whatever_happens() {
    let hours = number("SIMULATED_HOURS", USUAL_HOURS);
    let first = number("SIMULATOR_SEED", 1);
    let sites = hours.div_ceil(SITE_HOURS.unsigned_abs());
    let (mut steps, mut validations) = (0, 0);
    for seed in first..first + sites {
        let world = std::panic::catch_unwind(|| {
            let mut world = World::begin(seed);
            while world.truth < T0 + TimeDelta::hours(SITE_HOURS) {
                world.step();
            }
            (world.steps, world.validations)
        });
        let Ok((its_steps, its_validations)) = world else {
            panic!("the site with SIMULATOR_SEED={seed} broke an invariant");
        };
        steps += its_steps;
        validations += its_validations;
    }
    println!("{hours} hours of {sites} sites: {steps} steps, {validations} validations");
    assert!(validations > hours / 100);
}

impl World {
    fn begin(seed: u64) -> Self {
        let vendor = Signer::vendor();
        let mut claims = license_claims();
        claims.iat = T0;
        let evidence = vendor.evidence(&claims);
        let readings = Readings {
            wall: T0,
            running: Duration::ZERO,
            since_boot: Duration::from_secs(60),
            boot_id: Some("1".into()),
        };
        let (guard, _) = TimeGuard::start(None, Some(T0), DateTime::UNIX_EPOCH, readings);
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        dice.roll(2);
        Self {
            trust: vendor.trust(),
            vendor,
            stranger: Signer::stranger(),
            truth: T0,
            way: Way::Open,
            suspended: false,
            seq: claims.seq,
            recorded: Vec::new(),
            denials_issued: 0,
            wall_off: TimeDelta::zero(),
            battery: dice.roll(4) != 0,
            dice,
            running: Duration::ZERO,
            since_boot: Duration::from_secs(60),
            boots: 1,
            kept_time: guard.believed(),
            kept_at: T0,
            guard,
            stored: evidence.clone(),
            evidence,
            restorable: None,
            validated_at: T0,
            failures: 0,
            policy: Policy {
                grace: TimeDelta::hours(72),
                allow_unlicensed_core: false,
            },
            last_effective: T0,
            since_confirmed: TimeDelta::zero(),
            since_lease: TimeDelta::zero(),
            forgiven: TimeDelta::zero(),
            failed_since_confirmed: false,
            restored: false,
            highest_seq: claims.seq,
            steps: 0,
            validations: 0,
        }
    }

    fn readings(&self) -> Readings {
        Readings {
            wall: self.truth + self.wall_off,
            running: self.running,
            since_boot: self.since_boot,
            boot_id: Some(self.boots.to_string()),
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.guard.now(self.running)
    }

    fn step(&mut self) {
        self.steps += 1;
        match self.dice.roll(100) {
            0..70 => {
                let most = TimeDelta::hours(if self.dice.roll(4) == 0 { 12 } else { 1 });
                let span = self.dice.up_to(most);
                self.run(span);
            }
            70..76 => self.change_way(),
            76..80 => self.step_the_wall(),
            80..83 => self.reboot(),
            83..87 => self.restart(false),
            87..89 => self.restart(true),
            89..91 => self.sleep(),
            91..94 => self.suspended = self.dice.roll(3) == 0,
            94..96 => self.restorable = Some(self.stored.clone()),
            96..97 => self.restore(),
            _ => self.validate(),
        }
        self.check();
    }

    /// Time goes by: the clocks are looked at, and what is due is done.
    fn run(&mut self, span: TimeDelta) {
        let mut left = span;
        while left > TimeDelta::zero() {
            let piece = left.min(KEPT_EVERY);
            left -= piece;
            self.pass(piece);
            self.observe();
            if self.is_due() {
                self.validate();
            }
        }
    }

    fn pass(&mut self, span: TimeDelta) {
        self.truth += span;
        self.running += span.to_std().unwrap();
        self.since_boot += span.to_std().unwrap();
        self.since_confirmed += span;
        self.since_lease += span;
    }

    fn observe(&mut self) {
        let (guard, _) = self.guard.observed(self.readings());
        self.guard = guard;
        if self.truth - self.kept_at >= KEPT_EVERY {
            self.keep();
        }
        let now = self.now();
        assert!(now >= self.last_effective, "time ran backward");
        self.last_effective = now;
    }

    fn keep(&mut self) {
        self.kept_time = self.guard.believed();
        self.kept_at = self.truth;
    }

    fn is_due(&self) -> bool {
        let now = self.now();
        let standing = standing(&self.evidence, now, &self.policy);
        let due = next_validation(
            &self.evidence,
            &standing,
            self.failures,
            self.validated_at,
            TimeDelta::hours(24),
            Jitter::from_bits(1 << 31),
        );
        due.is_some_and(|due| due <= now)
    }

    fn change_way(&mut self) {
        self.way = match self.dice.roll(9) {
            0..4 => Way::Open,
            4..6 => Way::Cut,
            6 => Way::Portal,
            7 => [Way::Fault, Way::Replays][self.dice.roll(2) as usize],
            _ => Way::Forges,
        };
    }

    fn step_the_wall(&mut self) {
        let by = match self.dice.roll(8) {
            0 => self.dice.up_to(TimeDelta::minutes(4)),
            1 => -self.dice.up_to(TimeDelta::minutes(10)),
            2 => self.dice.up_to(TimeDelta::hours(20)),
            3 => -self.dice.up_to(TimeDelta::days(400)),
            4 => self.dice.up_to(TimeDelta::days(4000)),
            // 1970 and 2038.
            5 => DateTime::UNIX_EPOCH - self.truth - self.wall_off,
            6 => DateTime::from_timestamp(i32::MAX.into(), 0).unwrap() - self.truth - self.wall_off,
            _ => -self.wall_off,
        };
        self.wall_off += by;
    }

    /// Power off and on: what was not kept is lost.
    fn reboot(&mut self) {
        let off = match self.dice.roll(3) {
            0 => self.dice.up_to(TimeDelta::minutes(10)),
            1 => self.dice.up_to(TimeDelta::hours(20)),
            _ => self.dice.up_to(TimeDelta::days(20)),
        };
        let up = self.dice.up_to(TimeDelta::minutes(20)) + TimeDelta::seconds(30);
        if self.dice.roll(2) == 0 {
            // Stopped in good order.
            self.observe();
            self.keep();
        }
        self.forgiven += self.truth - self.kept_at;
        self.truth += off + up;
        self.since_confirmed += up;
        self.since_lease += up;
        self.since_boot = up.to_std().unwrap();
        self.boots += 1;
        if !self.battery {
            self.wall_off = DateTime::UNIX_EPOCH - self.truth;
        }
        self.start();
    }

    /// The process ends and starts again, at once or after a while.
    fn restart(&mut self, after_a_while: bool) {
        if after_a_while {
            let span = self.dice.up_to(TimeDelta::days(3));
            self.truth += span;
            self.since_boot += span.to_std().unwrap();
            self.since_confirmed += span;
            self.since_lease += span;
        }
        self.start();
    }

    fn start(&mut self) {
        self.running = Duration::ZERO;
        self.evidence = self.recalled();
        let (guard, _) = TimeGuard::start(
            Some(&self.kept_time),
            self.evidence.newest_signed_at(),
            DateTime::UNIX_EPOCH,
            self.readings(),
        );
        // A new process has not shown anybody a later time than it starts with.
        self.guard = guard;
        self.last_effective = self.now();
        self.keep();
        let tried = self
            .evidence
            .last_failure
            .as_ref()
            .map(|failure| failure.at);
        let now = self.now();
        self.validated_at = self
            .evidence
            .confirmed_at
            .max(tried)
            .unwrap_or(now)
            .min(now);
        self.failures = u32::from(tried.is_some());
    }

    /// What is stored is verified again.
    fn recalled(&self) -> Evidence {
        let keyring = self.vendor.keyring();
        let mut evidence = self.stored.clone();
        if let Some(Lease::Signed(document)) = &evidence.lease {
            let again = verify_license(document.jws(), &keyring).unwrap();
            evidence.lease = Some(Lease::Signed(Box::new(again)));
        }
        if let Some(denial) = &evidence.denial {
            evidence.denial = Some(verify_denial(denial.jws(), &keyring).unwrap());
        }
        evidence
    }

    /// The machine sleeps: its boot clock goes on, and the process does not.
    fn sleep(&mut self) {
        let span = match self.dice.roll(2) {
            0 => self.dice.up_to(TimeDelta::hours(10)),
            _ => self.dice.up_to(TimeDelta::days(6)),
        };
        self.truth += span;
        self.since_boot += span.to_std().unwrap();
        self.observe();
    }

    /// Somebody puts an old database back.
    fn restore(&mut self) {
        let Some(old) = self.restorable.take() else {
            return;
        };
        self.stored = old;
        self.restored = true;
        // Its lease is older by what has run since: never younger.
        self.start();
    }

    fn validate(&mut self) {
        self.validations += 1;
        let nonce = format!("nonce-{}", self.dice.roll(u64::MAX));
        let reply = self.answer(&nonce);
        let question = Question {
            nonce: &nonce,
            license_key: KEY,
            installation_id: INSTALLATION,
            hardware_id: HARDWARE,
            newest_seq: self.evidence.newest_seq(KEY),
        };
        let contact = validation(&reply, &question, &self.trust);
        if let Some((signed, _)) = contact.proof() {
            assert_eq!(self.way, Way::Open, "only the vendor proves anything");
            let (guard, _) = self.guard.proven(signed, Duration::ZERO, self.readings());
            self.guard = guard;
            self.last_effective = self.now();
            self.keep();
        }
        let now = self.now();
        self.evidence =
            self.evidence
                .validated(&contact, now, unsigned_validity(TimeDelta::hours(24)));
        self.stored = self.evidence.clone();
        self.validated_at = now;
        match contact {
            Contact::Confirmed(_) => {
                self.failures = 0;
                self.since_confirmed = TimeDelta::zero();
                self.since_lease = TimeDelta::zero();
                self.forgiven = TimeDelta::zero();
                self.failed_since_confirmed = false;
                self.restored = false;
                assert_eq!(
                    standing(&self.evidence, now, &self.policy),
                    Standing::Active,
                    "a fresh confirmed answer makes the site active"
                );
            }
            Contact::Denied(_) | Contact::None(_) => {
                self.failures += 1;
                self.failed_since_confirmed = true;
            }
        }
    }

    fn answer(&mut self, nonce: &str) -> Reply {
        let answer = |status, body: Vec<u8>| Reply::Answer { status, body };
        match self.way {
            Way::Cut => {
                let detail = "no route to host".into();
                Reply::Failure(TransportFailure::Unreachable { detail })
            }
            Way::Portal => answer(200, b"<html>Please sign in</html>".to_vec()),
            Way::Fault => answer(
                503,
                br#"{"success":false,"data":{"isValid":false}}"#.to_vec(),
            ),
            Way::Replays => match self.recorded.len() {
                0 => answer(200, b"{}".to_vec()),
                n => answer(
                    200,
                    self.recorded[self.dice.roll(n as u64) as usize].clone(),
                ),
            },
            Way::Forges => {
                let signer = self.stranger.license_header();
                let (yes, no) = (self.yes(nonce, false), self.no(nonce, false));
                let forged = [yes, no][self.dice.roll(2) as usize].clone();
                assert!(!signer.is_empty());
                answer(200, forged)
            }
            Way::Open => {
                let millis = u64::try_from(self.truth.timestamp_millis()).unwrap();
                self.seq = millis.max(self.seq + 1);
                let body = if self.suspended {
                    self.denials_issued += 1;
                    self.no(nonce, true)
                } else {
                    self.yes(nonce, true)
                };
                self.recorded.push(body.clone());
                if self.recorded.len() > 50 {
                    self.recorded.remove(0);
                }
                answer(200, body)
            }
        }
    }

    fn yes(&self, nonce: &str, genuine: bool) -> Vec<u8> {
        let mut claims = license_claims();
        claims.seq = self.seq;
        claims.nonce = Some(nonce.into());
        claims.iat = DateTime::from_timestamp(self.truth.timestamp(), 0).unwrap();
        claims.nbf = claims.iat;
        claims.valid_until = claims.iat + TimeDelta::hours(24);
        claims.exp = claims.valid_until + TimeDelta::hours(72);
        let jws = self.signer(genuine).license(&claims);
        let license = json!({"licenseKey": KEY, "signature": jws});
        let data = json!({"isValid": true, "license": license, "gracePeriodActive": false});
        json!({"success": true, "data": data})
            .to_string()
            .into_bytes()
    }

    fn no(&self, nonce: &str, genuine: bool) -> Vec<u8> {
        let mut claims = denial_claims();
        claims.seq = self.seq;
        claims.nonce = Some(nonce.into());
        claims.iat = DateTime::from_timestamp(self.truth.timestamp(), 0).unwrap();
        claims.reason = DenialReason::Suspended;
        let jws = self.signer(genuine).denial(&claims);
        let data = json!({"isValid": false, "reason": "suspended", "signature": jws});
        json!({"success": true, "data": data})
            .to_string()
            .into_bytes()
    }

    fn signer(&self, genuine: bool) -> &Signer {
        if genuine {
            &self.vendor
        } else {
            &self.stranger
        }
    }

    fn check(&mut self) {
        let now = self.now();
        let Some(Lease::Signed(document)) = self.evidence.lease.as_ref() else {
            panic!("the license is gone");
        };
        let stands = standing(&self.evidence, now, &self.policy);
        let listed = self
            .evidence
            .lease
            .as_ref()
            .unwrap()
            .license()
            .features()
            .keys;
        let entitlements = Entitlements::new(listed, Default::default());
        for core in CORE_FEATURES {
            assert!(
                decide(core, &stands, &entitlements, &self.policy).available,
                "a core feature is off"
            );
        }
        let on = decide(PAID, &stands, &entitlements, &self.policy).available;

        // Never past the signed end, in running time: what a power cut has
        // kept from being counted is all that is forgiven.
        let signed_span = document.claims().exp - document.claims().iat;
        let counted = self.since_lease - self.forgiven - TimeDelta::minutes(2);
        assert!(
            !(on && counted > signed_span),
            "on {counted} after the lease was signed, which is good for {signed_span}"
        );
        // Nor off sooner than what was signed and what clocks may claim.
        if stands == Standing::Lapsed(LapseReason::GracePeriodExpired) && !self.restored {
            let least = TimeDelta::hours(if self.failed_since_confirmed { 48 } else { 72 });
            let ran = self.since_confirmed + TimeDelta::minutes(2);
            assert!(ran >= least, "off after {ran} of running time");
        }
        if let Standing::Lapsed(LapseReason::Denied(_)) = &stands {
            assert!(self.denials_issued > 0, "a denial that nobody has issued");
        }
        let seq = self.evidence.newest_seq(KEY).unwrap();
        assert!(
            self.restored || seq >= self.highest_seq,
            "the sequence ran backward"
        );
        self.highest_seq = self.highest_seq.max(seq);
    }
}
