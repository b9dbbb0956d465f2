//! The time of one check, and whether two threads make twice as many.
#![expect(clippy::unwrap_used, reason = "a measurement may panic")]
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use license_gate::Gate;

use crate::scripted_client::{ALARM, LIVE_VIEW, MAP_VIEW, ScriptedClient, announcement, said};
use crate::signer::{Signer, T0, license_claims};

#[path = "../tests/gate/scripted_client.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod scripted_client;
#[path = "../../core/tests/rules/signer.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod signer;

/// A gate with this many features.
fn gate_of(features: usize) -> (Gate, ScriptedClient) {
    let evidence = Signer::vendor().evidence(&license_claims());
    let mut told = announcement(&evidence, T0);
    let licensed = told.features[MAP_VIEW].clone();
    for number in told.features.len()..features {
        told.features
            .insert(format!("module.{number:020}"), licensed.clone());
    }
    let client = ScriptedClient::start(said(&told, T0, None));
    let gate = Gate::builder(&client.url).start().unwrap();
    assert!(gate.wait_until_ready(Duration::from_secs(5)));
    (gate, client)
}

fn checks(criterion: &mut Criterion) {
    for features in [10, 10_000] {
        let (gate, _client) = gate_of(features);
        for (name, feature) in [
            ("licensed", MAP_VIEW),
            ("core", LIVE_VIEW),
            ("not in the license", ALARM),
            ("unknown", "module.nope"),
        ] {
            let name = format!("check, {features} features, {name}");
            criterion.bench_function(&name, |bencher| {
                bencher.iter(|| gate.check(black_box(feature)));
            });
        }
    }
    // The time for this many checks on each thread: it stays the same if threads do not
    // wait for each other.
    let (gate, _client) = gate_of(10);
    for threads in [1, 2] {
        criterion.bench_function(&format!("check, {threads} threads at once"), |bencher| {
            bencher.iter_custom(|times| at_once(&gate, threads, times));
        });
    }
}

fn at_once(gate: &Gate, threads: usize, times: u64) -> Duration {
    let start = std::sync::Barrier::new(threads);
    let work = || {
        start.wait();
        let begun = Instant::now();
        for _ in 0..times {
            black_box(gate.check(black_box(MAP_VIEW)));
        }
        begun.elapsed()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let spent = threads.into_iter().map(|thread| thread.join().unwrap());
        spent.max().unwrap()
    })
}

criterion_group!(benches, checks);
criterion_main!(benches);
