//! Simulates a site with random events: outages, proxies, clock steps, reboots, killed
//! processes, suspended and reinstated licenses, stored license files, and a user who removes,
//! restores and edits stored data and sets the wall clock for the moment of an import. The
//! invariants are checked at every step.
//!
//! `SIMULATED_HOURS` sets the duration, `SIMULATOR_SEED` the first seed; a failure names the seed
//! of its site.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::contact::{Contact, Question, Reply, TransportFailure, Trust};
use license_core::document::{DenialReason, VerifiedLicense, verify_denial, verify_license};
use license_core::evidence::{Evidence, Failure};
use license_core::feature::CORE_FEATURES;
use license_core::gate::{Entitlements, decide};
use license_core::lease::Lease;
use license_core::schedule::{Jitter, next_validation, unsigned_validity};
use license_core::standing::{LapseReason, Policy, Standing, standing};
use license_core::time_guard::{
    BELIEVED_LEAD, Believed, Mark, Readings, TimeGuard, keep_again_after,
};
use serde_json::json;

use crate::signer::{
    HARDWARE, INSTALLATION, KEY, Signer, T0, denial_claims, license_claims, validation,
};

const PAID: &str = "module.map_view";
const DEFAULT_HOURS: u64 = 20_000;
/// How long each site is simulated, in running time.
const SITE_HOURS: i64 = 2_000;
/// The maximum interval at which the clocks are read and the time is stored in all
/// places.
const STORE_INTERVAL: TimeDelta = TimeDelta::minutes(5);

/// A small random number generator (Marsaglia, "Xorshift RNGs").
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

/// The state of the connection to the License Server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    Cut,
    Portal,
    Fault,
    /// An attacker replays recorded answers.
    Replays,
    /// An attacker answers with documents signed by another key.
    Forges,
}

/// The data that a site stores for its next start.
#[derive(Clone)]
struct Kept {
    /// The license, the denial and related data.
    evidence: Evidence,
    /// The time in its file. An edited file has an invalid MAC and counts as absent.
    file: Option<Copy<Believed>>,
    /// The mark in the local copy.
    local: Option<Copy<Mark>>,
    /// The mark in the database.
    row: Option<Copy<Mark>>,
}

/// One copy of the time, with the facts about it.
#[derive(Clone)]
struct Copy<T> {
    value: T,
    /// The effective time when it was written.
    counted: Counted,
    /// The total running time of the machine at that moment, over all boots.
    ran: TimeDelta,
    /// The boot in which it was written.
    boot: u64,
}

/// How much of the machine's running time the effective time includes: it is no earlier than
/// the true time when the machine had run for this long.
#[derive(Clone, Copy)]
struct Counted {
    here: TimeDelta,
    /// The same for the data shared with other processes.
    shared: TimeDelta,
    /// The same without anything that was only claimed, which a license file takes
    /// back.
    certain: TimeDelta,
}

struct World {
    dice: Dice,
    vendor: Signer,
    untrusted: Signer,
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

    // The process and its stored data.
    guard: TimeGuard,
    kept: Kept,
    kept_at: DateTime<Utc>,
    /// When the file was last written, and when it is due again.
    filed_at: DateTime<Utc>,
    evidence: Evidence,
    /// License files that the user had signed and has kept.
    files: Vec<VerifiedLicense>,
    imports: u64,
    /// The kernel does not report a boot id.
    is_masked: bool,
    /// Time added for processes without a clean stop, since the last
    /// confirmation.
    charged: TimeDelta,
    restorable: Option<Kept>,
    validated_at: DateTime<Utc>,
    failures: u32,

    // The checks.
    policy: Policy,
    last_effective: DateTime<Utc>,
    /// The machine's total running time over all boots, and how much of it
    /// counts.
    ran: TimeDelta,
    ran_at_boot: TimeDelta,
    counted: Counted,
    /// The running time when each document was signed.
    ran_when_signed: BTreeMap<u64, TimeDelta>,
    /// Whether a process without stored time has not validated yet, and the wall clock has not
    /// been behind the true time since it started.
    wall_will_count: bool,
    since_confirmed: TimeDelta,
    failed_since_confirmed: bool,
    restored: bool,
    tampered: bool,
    tamperings: u64,
    highest_seq: u64,
    steps: u64,
    validations: u64,
}

#[expect(clippy::disallowed_methods, reason = "a test has no config.rs")]
fn number(variable: &str, default: u64) -> u64 {
    let number = std::env::var(variable).ok();
    number.map_or(default, |number| number.parse().unwrap())
}

#[test]
fn the_invariants_hold_in_every_simulation() {
    let hours = number("SIMULATED_HOURS", DEFAULT_HOURS);
    let first = number("SIMULATOR_SEED", 1);
    let sites = hours.div_ceil(SITE_HOURS.unsigned_abs());
    let (mut steps, mut validations, mut tamperings, mut imports) = (0, 0, 0, 0);
    for seed in first..first + sites {
        let world = std::panic::catch_unwind(|| {
            let mut world = World::begin(seed);
            while world.ran < TimeDelta::hours(SITE_HOURS) {
                world.step();
            }
            (
                world.steps,
                world.validations,
                world.tamperings,
                world.imports,
            )
        });
        let Ok((its_steps, its_validations, its_tamperings, its_imports)) = world else {
            panic!("the site with SIMULATOR_SEED={seed} broke an invariant");
        };
        steps += its_steps;
        validations += its_validations;
        tamperings += its_tamperings;
        imports += its_imports;
    }
    println!(
        "{hours} hours of {sites} sites: {steps} steps, {validations} validations, {imports} license files, {tamperings} times tampered with"
    );
    assert!(imports > hours / 1000);
    assert!(tamperings > hours / 200);
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
        let (guard, _) = TimeGuard::start(None, None, Some(T0), DateTime::UNIX_EPOCH, readings);
        let kept = Kept {
            evidence: evidence.clone(),
            file: None,
            local: None,
            row: None,
        };
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        dice.roll(2);
        let mut world = Self {
            trust: vendor.trust(),
            vendor,
            untrusted: Signer::untrusted(),
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
            kept,
            kept_at: T0,
            filed_at: T0,
            files: Vec::new(),
            imports: 0,
            is_masked: false,
            charged: TimeDelta::zero(),
            guard,
            evidence,
            restorable: None,
            validated_at: T0,
            failures: 0,
            policy: Policy {
                grace: TimeDelta::hours(72),
                allow_unlicensed_core: false,
            },
            last_effective: T0,
            ran: TimeDelta::zero(),
            ran_at_boot: TimeDelta::zero(),
            counted: Counted {
                here: TimeDelta::zero(),
                shared: TimeDelta::zero(),
                certain: TimeDelta::zero(),
            },
            ran_when_signed: BTreeMap::from([(claims.seq, TimeDelta::zero())]),
            wall_will_count: false,
            since_confirmed: TimeDelta::zero(),
            failed_since_confirmed: false,
            restored: false,
            tampered: false,
            tamperings: 0,
            highest_seq: claims.seq,
            steps: 0,
            validations: 0,
        };
        world.keep();
        world
    }

    fn readings(&self) -> Readings {
        Readings {
            wall: self.truth + self.wall_off,
            running: self.running,
            since_boot: self.since_boot,
            boot_id: Some(self.boots.to_string()).filter(|_| !self.is_masked),
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
            91..93 => self.suspended = self.dice.roll(3) == 0,
            93 => self.restorable = Some(self.kept.clone()),
            95 => self.restore(),
            94 | 96 => self.by_file(),
            97..99 => self.tamper(),
            _ => self.validate(),
        }
        self.check();
    }

    /// Time passes: the clocks are read, and due actions are taken.
    fn run(&mut self, span: TimeDelta) {
        let mut left = span;
        while left > TimeDelta::zero() {
            let piece = left.min(self.gap() - (self.truth - self.filed_at));
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
        self.ran_for(span);
        self.counted.here += span;
        self.counted.shared += span;
        self.counted.certain += span;
    }

    /// For how long the content of the file is valid.
    fn gap(&self) -> TimeDelta {
        match &self.kept.file {
            Some(file) if file.value.unseen_ms > 0 => {
                TimeDelta::milliseconds(file.value.unseen_ms.cast_signed())
            }
            _ => TimeDelta::from_std(keep_again_after(self.running)).unwrap(),
        }
    }

    fn ran_for(&mut self, span: TimeDelta) {
        self.ran += span;
        self.since_confirmed += span;
    }

    fn observe(&mut self) {
        let (guard, _) = self.guard.observed(self.readings());
        self.guard = guard;
        if self.truth - self.kept_at >= STORE_INTERVAL {
            self.keep();
        } else if self.truth - self.filed_at >= self.gap() {
            self.file();
        }
        self.look_at_the_wall();
        let now = self.now();
        assert!(now >= self.last_effective, "time ran backward");
        self.last_effective = now;
    }

    /// Uncertain values are not stored.
    fn keep(&mut self) {
        self.kept.evidence = self.evidence.clone();
        if self.guard.awaits_validation() {
            return;
        }
        self.file();
        self.kept.local = Some(self.copy(self.guard.mark()));
        let ours = self.guard.shared_mark();
        let mark = match &self.kept.row {
            Some(row) => ours.merged(row.value),
            None => ours,
        };
        if mark == ours {
            let row = self.copy(ours);
            self.kept.row = Some(Copy {
                counted: Counted {
                    here: row.counted.shared,
                    ..row.counted
                },
                ..row
            });
        }
        self.kept_at = self.truth;
    }

    fn file(&mut self) {
        if self.guard.awaits_validation() {
            return;
        }
        self.kept.file = Some(self.copy(self.guard.believed()));
        self.filed_at = self.truth;
    }

    fn copy<T>(&self, value: T) -> Copy<T> {
        Copy {
            value,
            counted: self.counted,
            ran: self.ran,
            boot: self.boots,
        }
    }

    /// Records whether the wall clock was behind the true time.
    fn look_at_the_wall(&mut self) {
        self.wall_will_count &= self.wall_off >= TimeDelta::zero();
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
        self.look_at_the_wall();
    }

    /// Power off and on: unsaved data is lost.
    fn reboot(&mut self) {
        let off = match self.dice.roll(3) {
            0 => self.dice.up_to(TimeDelta::minutes(10)),
            1 => self.dice.up_to(TimeDelta::hours(20)),
            _ => self.dice.up_to(TimeDelta::days(20)),
        };
        let up = self.dice.up_to(TimeDelta::minutes(20)) + TimeDelta::seconds(30);
        if self.dice.roll(2) == 0 {
            // A clean stop.
            self.observe();
            self.keep();
            self.kept.file = Some(self.copy(self.guard.stopped()));
        }
        self.truth += off + up;
        self.ran_at_boot = self.ran;
        self.ran_for(up);
        self.since_boot = up.to_std().unwrap();
        self.boots += 1;
        if !self.battery {
            self.wall_off = DateTime::UNIX_EPOCH - self.truth;
        }
        self.start();
    }

    /// The process ends and restarts, immediately or after a while.
    fn restart(&mut self, after_a_while: bool) {
        if after_a_while {
            let span = self.dice.up_to(TimeDelta::days(3));
            self.truth += span;
            self.since_boot += span.to_std().unwrap();
            self.ran_for(span);
        }
        self.start();
    }

    fn start(&mut self) {
        self.running = Duration::ZERO;
        self.evidence = self.recalled();
        let signed = self.evidence.newest_signed_at();
        let file = self.kept.file.as_ref().map(|copy| copy.value.clone());
        let local = self.kept.local.as_ref().map(|copy| copy.value);
        let row = self.kept.row.as_ref().map(|copy| copy.value);
        let floor = DateTime::UNIX_EPOCH;
        let readings = self.readings();
        let (guard, _) = TimeGuard::start(file.as_ref(), local.as_ref(), signed, floor, readings);
        let row = row.map(Mark::told);
        let (guard, _) = guard.recalled(row.as_ref(), signed, self.readings());
        // A new process has not exposed any time later than its start.
        self.guard = guard;
        self.count_what_is_left(signed);
        self.last_effective = self.now();
        let tried = self.evidence.last_failure.as_ref().map(Failure::at);
        let now = self.now();
        self.validated_at = self
            .evidence
            .confirmed_at
            .max(tried)
            .unwrap_or(now)
            .min(now);
        self.failures = u32::from(tried.is_some());
        if self.guard.awaits_validation() {
            self.check_nothing_lapses_before_asking();
            self.validate();
        }
        self.keep();
    }

    /// What has to be counted after a start, depending on the stored data that is left.
    fn count_what_is_left(&mut self, signed: Option<DateTime<Utc>>) {
        let none = TimeDelta::zero();
        let seq = self.evidence.newest_seq(KEY).unwrap();
        let signed_after = self.ran_when_signed.get(&seq).copied().unwrap_or(none);
        let mut counted = Counted {
            here: signed_after,
            shared: signed_after,
            certain: signed_after,
        };
        if let Some(file) = &self.kept.file {
            // The machine knows how long it has been running since the file was written. For a
            // document that is newer than the time counted by then this means nothing, unless no
            // time was left out and the machine was not off in between.
            let since = TimeDelta::from_std(self.since_boot).unwrap();
            let before = TimeDelta::milliseconds(file.value.since_boot_ms.cast_signed());
            let unseen = TimeDelta::milliseconds(file.value.unseen_ms.cast_signed());
            self.charged += unseen;
            let ran = self.ran - file.ran;
            let names_it = file.value.boot_id.is_some() && !self.is_masked;
            let carried = if file.boot == self.boots {
                ran
            } else if names_it || since < before {
                // Running time before a power cut counts, too.
                ran.min(since + unseen)
            } else {
                ran.min(unseen.max(since - before))
            };
            let says = |then: TimeDelta| {
                signed_after <= then || file.boot == self.boots && then == file.ran
            };
            for (counted, then) in [
                (&mut counted.here, file.counted.here),
                (&mut counted.shared, file.counted.shared),
                (&mut counted.certain, file.counted.certain),
            ] {
                if says(then) {
                    *counted = (*counted).max(then + carried);
                }
            }
        }
        // A mark that knows no document as new as this one is older than it.
        for mark in [&self.kept.local, &self.kept.row].into_iter().flatten() {
            if mark.value.signed_at >= signed {
                counted.here = counted.here.max(mark.counted.here);
                counted.shared = counted.shared.max(mark.counted.shared);
            }
        }
        // The claims in the local copy count where the file has none.
        if let (None, Some(local)) = (&self.kept.file, &self.kept.local)
            && local.value.signed_at >= signed
        {
            counted.certain = counted.certain.max(local.counted.certain);
        }
        let is_right = self.wall_off >= none;
        self.wall_will_count = self.kept.file.is_none() && is_right;
        if self.wall_will_count && !self.guard.awaits_validation() {
            counted.here = self.ran;
            self.wall_will_count = false;
        }
        self.counted = counted;
    }

    fn check_nothing_lapses_before_asking(&self) {
        if self.kept.local.is_some() || self.kept.row.is_some() {
            return;
        }
        let signed = self.evidence.newest_signed_at().unwrap();
        assert!(self.readings().wall - signed > BELIEVED_LEAD);
        let stands = standing(&self.evidence, self.now(), &self.policy);
        assert!(
            !matches!(
                stands,
                Standing::Lapsed(LapseReason::GracePeriodExpired | LapseReason::LicenseExpired)
            ),
            "off before the License Server was asked"
        );
    }

    /// Stored data is verified again.
    fn recalled(&self) -> Evidence {
        let keyring = self.vendor.keyring();
        let mut evidence = self.kept.evidence.clone();
        if let Some(Lease::Signed(document)) = &evidence.lease {
            let again = verify_license(document.jws(), &keyring).unwrap();
            evidence.lease = Some(Lease::Signed(Box::new(again)));
        }
        if let Some(denial) = &evidence.denial {
            evidence.denial = Some(verify_denial(denial.jws(), &keyring).unwrap());
        }
        evidence
    }

    /// The machine is suspended: its boot clock continues, the process does not.
    fn sleep(&mut self) {
        let span = match self.dice.roll(2) {
            0 => self.dice.up_to(TimeDelta::hours(10)),
            _ => self.dice.up_to(TimeDelta::days(6)),
        };
        self.truth += span;
        self.since_boot += span.to_std().unwrap();
        self.observe();
    }

    /// The user restores an old license and its related data.
    fn restore(&mut self) {
        let Some(old) = &self.restorable else {
            return;
        };
        self.kept.evidence = old.evidence.clone();
        self.restored = true;
        self.start();
    }

    /// The user stops the process, removes, restores or edits any stored data, may set the wall
    /// clock, and starts the process again.
    fn tamper(&mut self) {
        self.tamperings += 1;
        self.tampered = true;
        let old = self.restorable.clone();
        let mut kept = self.kept.clone();
        match (self.dice.roll(3), &old) {
            (0, _) => kept.file = None,
            (1, Some(old)) => kept.file = old.file.clone(),
            _ => {}
        }
        kept.local = self.tampered_with(kept.local, old.as_ref().map(|old| &old.local));
        kept.row = self.tampered_with(kept.row, old.as_ref().map(|old| &old.row));
        if let Some(old) = &old
            && self.dice.roll(3) == 0
        {
            kept.evidence = old.evidence.clone();
            self.restored = true;
        }
        self.kept = kept;
        if self.dice.roll(3) == 0 {
            self.step_the_wall();
        }
        if self.dice.roll(3) == 0 {
            self.is_masked = !self.is_masked;
        }
        if self.dice.roll(3) == 0 {
            // The files are changed before the power is back.
            let off = self.dice.up_to(TimeDelta::days(400));
            let up = TimeDelta::minutes(1);
            self.truth += off + up;
            self.ran_at_boot = self.ran;
            self.ran_for(up);
            self.since_boot = up.to_std().unwrap();
            self.boots += 1;
        }
        self.start();
    }

    /// A mark that was stored, removed, restored or forged. A mark that exceeds the truth is
    /// useless to its author.
    fn tampered_with(
        &mut self,
        mark: Option<Copy<Mark>>,
        old: Option<&Option<Copy<Mark>>>,
    ) -> Option<Copy<Mark>> {
        match (self.dice.roll(4), old) {
            (0, _) => None,
            (1, Some(old)) => old.clone(),
            (2, _) => {
                let at = self.truth - self.dice.up_to(TimeDelta::days(300));
                let number = |number: u64| i64::try_from(number).unwrap();
                let mark = Mark {
                    at,
                    signed_at: Some(at + self.dice.up_to(TimeDelta::days(90_000))),
                    lead_ms: number(self.dice.roll(u64::MAX)),
                    assumed_ms: number(self.dice.roll(u64::MAX)),
                    told_ms: number(self.dice.roll(u64::MAX)),
                };
                let mut forged = self.copy(mark);
                // It is useless.
                forged.counted.here = TimeDelta::zero();
                forged.counted.shared = TimeDelta::zero();
                forged.counted.certain = TimeDelta::zero();
                Some(forged)
            }
            _ => mark,
        }
    }

    /// The user has a license file signed and keeps it, or imports one of those kept. The user may
    /// remove the license first, so that the file counts again, and set the wall clock for just
    /// that moment.
    fn by_file(&mut self) {
        if self.files.is_empty() || self.dice.roll(3) == 0 {
            self.seq = (self.seq + 1).max(u64::try_from(self.truth.timestamp_millis()).unwrap());
            self.ran_when_signed.insert(self.seq, self.ran);
            let mut claims = license_claims();
            claims.seq = self.seq;
            claims.offline = true;
            claims.iat = DateTime::from_timestamp(self.truth.timestamp(), 0).unwrap();
            claims.nbf = claims.iat;
            claims.valid_until = claims.iat + TimeDelta::days(5);
            claims.exp = claims.valid_until + TimeDelta::hours(72);
            let jws = self.vendor.license(&claims);
            let document = verify_license(&jws, &self.vendor.keyring());
            self.files.push(document.unwrap());
            return;
        }
        let at = usize::try_from(self.dice.roll(self.files.len() as u64)).unwrap();
        let document = self.files[at].clone();
        let newest = self.evidence.newest_seq(KEY);
        let forgets = self.dice.roll(2) == 0;
        if !forgets && Some(document.claims().seq) <= newest {
            return;
        }
        self.imports += 1;
        let wall_off = self.wall_off;
        if self.dice.roll(2) == 0 {
            self.step_the_wall();
        }
        let (signed, good_until) = (document.claims().iat, document.claims().valid_until);
        let before = self.now();
        let (guard, _) = self.guard.answered(signed, self.readings());
        self.guard = guard;
        let now = self.now();
        self.last_effective = now;
        let certain = self
            .counted
            .certain
            .max(self.ran_when_signed[&document.claims().seq]);
        self.counted.certain = certain;
        if now < before {
            self.counted.shared = certain;
            if self.wall_off < TimeDelta::zero() {
                self.counted.here = certain;
            }
        }
        for counted in [&mut self.counted.here, &mut self.counted.shared] {
            *counted = (*counted).max(certain);
        }
        // A signed answer replaces the mark in the database.
        self.kept.row = None;
        if now <= good_until {
            let lease = Lease::Signed(Box::new(document));
            let before = if forgets {
                Evidence::default()
            } else {
                self.evidence.clone()
            };
            self.evidence = before.activated(lease, now);
            self.restored = true;
        }
        self.keep();
        self.wall_off = wall_off;
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
            self.counted.here = self.ran;
            self.counted.shared = self.ran;
            self.counted.certain = self.ran;
            // A signed answer replaces the mark in the database.
            self.kept.row = None;
        } else {
            let (guard, _) = self.guard.unanswered(self.readings());
            self.guard = guard;
            if self.wall_will_count {
                self.counted.here = self.ran;
            }
        }
        self.wall_will_count = false;
        let now = self.now();
        self.evidence =
            self.evidence
                .validated(&contact, now, unsigned_validity(TimeDelta::hours(24)));
        self.keep();
        self.validated_at = now;
        match contact {
            Contact::Confirmed(_) => {
                self.failures = 0;
                self.since_confirmed = TimeDelta::zero();
                self.failed_since_confirmed = false;
                self.restored = false;
                self.tampered = false;
                self.charged = TimeDelta::zero();
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
                let signer = self.untrusted.license_header();
                let (yes, no) = (self.yes(nonce, false), self.no(nonce, false));
                let forged = [yes, no][self.dice.roll(2) as usize].clone();
                assert!(!signer.is_empty());
                answer(200, forged)
            }
            Way::Open => {
                let millis = u64::try_from(self.truth.timestamp_millis()).unwrap();
                self.seq = millis.max(self.seq + 1);
                self.ran_when_signed.insert(self.seq, self.ran);
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
            &self.untrusted
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

        // Never past the signed end, in running time. Time that is in no remaining copy does
        // not have to count, unless the wall clock shows it.
        let signed_span = document.claims().exp - document.claims().iat;
        let signed_after = self.ran_when_signed[&document.claims().seq];
        let counted = self.counted.here - signed_after - TimeDelta::minutes(2);
        assert!(
            !(on && counted > signed_span),
            "on {counted} after the lease was signed, which is good for {signed_span}"
        );
        // Not off earlier than the signed end minus the possible claims of clocks.
        let left_alone = !self.restored && !self.tampered;
        if stands == Standing::Lapsed(LapseReason::GracePeriodExpired) && left_alone {
            let least = TimeDelta::hours(if self.failed_since_confirmed { 48 } else { 72 });
            let ran = self.since_confirmed + self.charged + TimeDelta::minutes(2);
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
