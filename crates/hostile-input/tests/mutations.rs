//! A small run of all targets, on mutations of what is genuine.
//! `HOSTILE_INPUTS` says how many for each target.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use license_hostile_input::{SEEDS, TARGETS};

const USUAL: u64 = 1_500;

const REQUESTS: [&str; 8] = [
    r#"{"featureKey":"module.map_view"}"#,
    r#"{"featureKeys":["module.map_view","x"]}"#,
    r#"{"resource":"cameras","requested":3}"#,
    r#"{"source":"recorder-1","cameras":12,"users":3,"storageGb":8,"expiresInSeconds":300}"#,
    r#"{"purpose":"activate","licenseKey":"FXSGHT-AAAA-BBBB-CCCC-DDDD","file":"-----BEGIN FOXSIGHT LICENSE FILE-----\nYQ\n-----END FOXSIGHT LICENSE FILE-----"}"#,
    r#"{"addOnKey":"FXSADD-AAAA-BBBB-CCCC-DDDD"}"#,
    "/api//v2/./x/..%2f%2e%2E/Cameras;v=1/%252e%252e/a%20b?x=1#y",
    "a\npostgresql+psycopg2://user:password@db:5432/vms?host=/run",
];

/// A small generator of random numbers (Marsaglia, "Xorshift RNGs").
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % sides.max(1)
    }
}

fn mutated(seeds: &[&[u8]], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.roll(seeds.len())].to_vec();
    for _ in 0..dice.roll(4) {
        let at = dice.roll(bytes.len());
        match dice.roll(5) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] = u8::try_from(dice.roll(256)).unwrap(),
            2 => bytes.insert(at, u8::try_from(dice.roll(256)).unwrap()),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            _ => {
                let other = seeds[dice.roll(seeds.len())];
                let from = dice.roll(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

#[test]
fn no_input_of_a_stranger_is_believed_or_a_fault_of_ours() {
    #[expect(clippy::disallowed_methods, reason = "a test has no config.rs")]
    let inputs = std::env::var("HOSTILE_INPUTS").ok();
    let inputs: u64 = inputs.map_or(USUAL, |inputs| inputs.parse().unwrap());
    let mut seeds: Vec<&[u8]> = SEEDS.lines().map(str::as_bytes).collect();
    seeds.extend(REQUESTS.map(str::as_bytes));
    for (name, target) in TARGETS {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for seed in &seeds {
            target(seed);
            // As the body of an answer with 200, and of a request to each route.
            for first in 0..16_u8 {
                target(&[&[first, 100][..], seed].concat());
                target(&[&[first][..], seed].concat());
            }
        }
        for _ in 0..inputs {
            let mut input = mutated(&seeds, &mut dice);
            if dice.roll(2) == 0 {
                input.insert(0, u8::try_from(dice.roll(256)).unwrap());
            }
            target(&input);
        }
        println!("{name}: {inputs} inputs");
    }
}
