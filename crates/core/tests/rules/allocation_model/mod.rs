//! Simulates the sites of one license with random events: several servers whose clocks differ and
//! step, one database, lost answers, transactions that are not committed, license files that run for
//! 90 days and arrive late or never, freed seats, moves, releases, reservations, amendments up and
//! down, and sites that ask for anything and keep every document. The invariants are checked after
//! every step, by the true time.
//!
//! All documents of all sites count until they end, as if every site kept them: an honest site
//! differs only in that it uses no more than its newest document carries.
//!
//! `ALLOCATION_STEPS` sets the number of steps, `ALLOCATION_SEED` the first seed; a failure names
//! the seed of its license.

mod calls;
mod checks;
mod license;
mod staff;

use std::cell::Cell;
use std::rc::Rc;

use chrono::{DateTime, Utc};
use license_core::allocation::{Carried, Holding, Staircase, Totals};
use license_core::seat::SeatState;

use self::license::License;
use crate::dice::{Dice, number};

const DEFAULT_STEPS: u64 = 30_000;
/// The number of steps of each license.
const LICENSE_STEPS: u64 = 2_000;
const KEYS: [&str; 2] = ["cameras", "doors"];
const START: i64 = 1_800_000_000;
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// A lease and its grace period.
const LEASE: i64 = 96 * HOUR;
/// How far the clock of a server may be off, in seconds: it signs nothing otherwise.
const MAX_OFF: i64 = 600;

/// A signed document.
struct Document {
    site: usize,
    seq: u64,
    signed_at: i64,
    exp: i64,
    /// What it carries of each count; `None` if that is not pooled, so that it carries all.
    carried: Option<[Carried; 2]>,
    /// The totals that were known when it was signed.
    totals: [Totals; 2],
    state: Cell<DocumentState>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DocumentState {
    Counts,
    /// What it carries beyond the newest document of its seat was released. The newest document may
    /// restate the rest.
    ExcessReleased,
    /// The place of its seat was passed on.
    PlacePassedOn,
}

/// The row of a machine's seat.
#[derive(Clone)]
struct Seat {
    state: SeatState,
    /// Grows with each seat that is taken.
    taken: u64,
    newest_seq: u64,
    holdings: [Holding; 2],
    reserved: [Staircase; 2],
}

struct Site {
    /// Asks for anything, and reports any usage.
    is_cheat: bool,
    can_ask: bool,
    reports_usage: bool,
    in_use: [u64; 2],
    newest: Option<Rc<Document>>,
}

/// How often things happened.
#[derive(Debug, Default)]
struct Counted {
    documents: u64,
    /// Checks in which the total was used up.
    tight: u64,
    /// Checks in which more was in use than the newest total, after an amendment.
    lowered: u64,
    refused: u64,
    kept: u64,
    moves: u64,
    releases: u64,
    reservations: u64,
    refused_reservations: u64,
    amendments: u64,
    files: u64,
}

struct World {
    dice: Dice,
    /// The true time, in seconds.
    truth: i64,
    /// How far the clock of each server is ahead.
    servers: [i64; 3],
    license: License,
    seats: Vec<Option<Seat>>,
    sites: Vec<Site>,
    /// All documents that have not ended.
    documents: Vec<Rc<Document>>,
    /// License files on their way.
    files: Vec<Rc<Document>>,
    seq: u64,
    counted: Counted,
}

fn instant(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

#[test]
fn what_is_signed_never_exceeds_what_was_sold() {
    let steps = number("ALLOCATION_STEPS", DEFAULT_STEPS);
    let first = number("ALLOCATION_SEED", 1);
    let licenses = steps.div_ceil(LICENSE_STEPS);
    let mut all = Counted::default();
    for seed in first..first + licenses {
        let counted = std::panic::catch_unwind(|| {
            let mut world = World::begin(seed);
            (0..LICENSE_STEPS).for_each(|_| world.step());
            world.counted
        });
        let Ok(counted) = counted else {
            panic!("the license with ALLOCATION_SEED={seed} broke an invariant");
        };
        all.add(&counted);
    }
    let steps = licenses * LICENSE_STEPS;
    println!("{steps} steps of {licenses} licenses: {all:?}");
    for (often, count) in [
        (10, all.documents),
        (50, all.tight),
        (100, all.lowered),
        (50, all.refused),
        (50, all.kept),
        (5_000, all.moves),
        (1_000, all.releases),
        (500, all.reservations),
        (500, all.refused_reservations),
        (200, all.amendments),
        (200, all.files),
    ] {
        assert!(count > steps / often, "{count} of {steps}: {all:?}");
    }
}

impl Counted {
    fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.tight += other.tight;
        self.lowered += other.lowered;
        self.refused += other.refused;
        self.kept += other.kept;
        self.moves += other.moves;
        self.releases += other.releases;
        self.reservations += other.reservations;
        self.refused_reservations += other.refused_reservations;
        self.amendments += other.amendments;
        self.files += other.files;
    }
}

impl Document {
    fn amount(&self, key: usize, at: i64) -> u64 {
        if self.exp < at {
            return 0;
        }
        let total = || self.totals[key].at(instant(at)).number();
        match &self.carried {
            Some(carried) => match &carried[key] {
                Carried::Part(part) => part.at(instant(at)),
                Carried::Total => total().unwrap_or(u64::MAX),
            },
            None => total().unwrap_or(u64::MAX),
        }
    }

    fn is_pooled(&self) -> bool {
        self.carried.is_some()
    }
}

impl World {
    fn begin(seed: u64) -> Self {
        let mut dice = Dice::seeded(seed);
        dice.roll(2);
        let sites = 2 + dice.roll(5);
        let sites: Vec<Site> = (0..sites)
            .map(|_| Site {
                is_cheat: dice.roll(3) == 0,
                can_ask: dice.roll(3) != 0,
                reports_usage: dice.roll(4) != 0,
                in_use: [0, 0],
                newest: None,
            })
            .collect();
        Self {
            license: License::issued(&mut dice),
            truth: START,
            servers: [0; 3],
            seats: vec![None; sites.len()],
            sites,
            documents: Vec::new(),
            files: Vec::new(),
            seq: 0,
            counted: Counted::default(),
            dice,
        }
    }

    /// A number from 0 up to and including `most`.
    fn up_to(&mut self, most: i64) -> i64 {
        let sides = u64::try_from(most).unwrap() + 1;
        i64::try_from(self.dice.roll(sides)).unwrap()
    }

    fn any_site(&mut self) -> usize {
        let sites = u64::try_from(self.sites.len()).unwrap();
        usize::try_from(self.dice.roll(sites)).unwrap()
    }

    /// The time of the server that serves the next call.
    fn server_time(&mut self) -> i64 {
        let server = usize::try_from(self.dice.roll(3)).unwrap();
        self.truth + self.servers[server]
    }

    fn step(&mut self) {
        match self.dice.roll(100) {
            0..26 => self.pass(6 * HOUR),
            26..30 => self.pass(700),
            30..31 => self.pass(20 * DAY),
            31..62 => self.call(false),
            62..65 => self.call(true),
            65..73 => self.use_more_or_less(),
            73..77 => self.deactivate(),
            77..78 => self.release_place(),
            78..81 => self.release_excess(),
            81..85 => self.reserve(),
            85..86 => self.amend(),
            86..87 => self.change_seats(),
            87..95 => self.step_clock(),
            95..99 => self.import(),
            _ => self.license.is_pooled = true,
        }
        self.check();
    }

    fn pass(&mut self, most: i64) {
        self.truth += self.up_to(most);
        let truth = self.truth;
        self.documents.retain(|it| truth <= it.exp);
    }

    /// A clock is corrected, or a server restarts on another machine.
    fn step_clock(&mut self) {
        let server = usize::try_from(self.dice.roll(3)).unwrap();
        self.servers[server] = match self.dice.roll(4) {
            0 => MAX_OFF,
            1 => -MAX_OFF,
            _ => self.up_to(2 * MAX_OFF) - MAX_OFF,
        };
    }

    /// An honest site uses no more than its newest document carries. More than that stays in use,
    /// but is not added.
    fn use_more_or_less(&mut self) {
        let site = self.any_site();
        for key in 0..KEYS.len() {
            let newest = self.sites[site].newest.clone();
            let limit = newest.map_or(0, |it| it.amount(key, self.truth));
            let limit = limit.min(1_000);
            let in_use = self.sites[site].in_use[key];
            self.sites[site].in_use[key] = match self.dice.roll(3) {
                0 => in_use.saturating_sub(1 + self.dice.roll(10)),
                1 => in_use.max(limit),
                _ => in_use.max(limit.min(in_use + self.dice.roll(20))),
            };
        }
    }

    /// A license file arrives. A site does not import one that is older than what it has.
    fn import(&mut self) {
        if self.files.is_empty() {
            return;
        }
        let files = u64::try_from(self.files.len()).unwrap();
        let place = usize::try_from(self.dice.roll(files)).unwrap();
        let file = self.files.swap_remove(place);
        self.counted.files += 1;
        self.deliver(&file);
    }

    fn deliver(&mut self, document: &Rc<Document>) {
        let site = &mut self.sites[document.site];
        if site.newest.as_ref().is_none_or(|it| it.seq < document.seq) {
            site.newest = Some(document.clone());
        }
    }
}
