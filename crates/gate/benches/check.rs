//! The time of one check, whether two threads make twice as many, and what the layer adds to a
//! request.
#![expect(clippy::unwrap_used, reason = "a measurement may panic")]
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use criterion::{Criterion, criterion_group, criterion_main};
use license_gate::Gate;
use tokio::runtime::Builder;
use tower::Service as _;

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
    assert!(gate.wait_until_ready(Duration::from_secs(30)));
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
    // How it grows, up to the maximum of a gate.
    for features in [1_000, 100_000] {
        let (gate, _client) = gate_of(features);
        let name = format!("check, {features} features, licensed");
        criterion.bench_function(&name, |bencher| {
            bencher.iter(|| gate.check(black_box(MAP_VIEW)));
        });
    }
    // The time for this many checks on each thread: it stays the same if threads do not
    // wait for each other.
    let (gate, _client) = gate_of(10);
    for threads in [1, 2] {
        criterion.bench_function(&format!("check, {threads} concurrent threads"), |bencher| {
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

/// The same request to the same route, without and with the layer.
fn layers(criterion: &mut Criterion) {
    let (gate, _client) = gate_of(10);
    let runtime = Builder::new_current_thread().build().unwrap();
    let open = Router::new().route("/map", get(async || StatusCode::NO_CONTENT));
    let gated = open.clone().layer(gate.layer(MAP_VIEW));
    for (how, mut router) in [("without the layer", open), ("with the layer", gated)] {
        criterion.bench_function(&format!("axum request, {how}"), |bencher| {
            bencher.iter(|| {
                let request = Request::get("/map").body(Body::empty()).unwrap();
                let response = runtime.block_on(router.call(request)).unwrap();
                assert_eq!(response.status(), StatusCode::NO_CONTENT);
            });
        });
    }
}

criterion_group!(benches, checks, layers);
criterion_main!(benches);
