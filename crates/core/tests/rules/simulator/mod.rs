//! Simulates a site with random events: outages, proxies, clock steps, reboots, killed
//! processes, suspended and reinstated licenses, stored license files, and a user who removes,
//! restores and edits stored data and sets the wall clock for the moment of an import. The
//! invariants are checked at every step.
//!
//! `SIMULATED_HOURS` sets the duration, `SIMULATOR_SEED` the first seed; a failure names the seed
//! of its site.

mod checks;
mod license_server;
mod machine;
mod process;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::document::VerifiedLicense;
use license_core::evidence::Evidence;
use license_core::response::Trust;
use license_core::standing::Policy;
use license_core::time_guard::{Believed, Mark, Readings, TimeGuard};

use crate::dice::{Dice, number};
use crate::signer::{Signer, T0, license_claims};

const PAID: &str = "module.map_view";
const DEFAULT_HOURS: u64 = 20_000;
/// How long each site is simulated, in running time.
const SITE_HOURS: i64 = 2_000;
/// The maximum interval at which the clocks are read and the time is stored in all
/// places.
const STORE_INTERVAL: TimeDelta = TimeDelta::minutes(5);

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
        let mut dice = Dice::seeded(seed);
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
}
