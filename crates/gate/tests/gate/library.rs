//! Other parts of the library for programs and their tests.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::FromRef;
use axum::http::{Method, StatusCode};
use axum::routing::get;
use license_gate::{
    Counters, Decision, Feature, FeatureKey, Gate, Hook, Licensed, Limit, Reason, Resource, Routes,
};

use crate::layers::ask;
use crate::scripted_client::{ALARM, LIVE_VIEW, MAP_VIEW};

struct MapView;
impl Feature for MapView {
    const KEY: &str = MAP_VIEW;
}

struct Alarm;
impl Feature for Alarm {
    const KEY: &str = ALARM;
}

#[tokio::test]
async fn an_extractor_refuses_like_a_layer() {
    #[derive(Clone)]
    struct State {
        gate: Gate,
    }
    impl FromRef<State> for Gate {
        fn from_ref(state: &State) -> Self {
            state.gate.clone()
        }
    }
    let map = async |licensed: Licensed<MapView>| licensed.decision().reason.to_string();
    let alarm = async |_: Licensed<Alarm>| "an alarm";
    let gate = Gate::fixed([MAP_VIEW]);
    let router = Router::new()
        .route("/map", get(map))
        .route("/alarm", get(alarm))
        .route("/layer", get(|| async {}).layer(gate.layer(ALARM)))
        .with_state(State { gate });
    assert_eq!(ask(&router, Method::GET, "/map").await.2, "licensed");
    let by_extractor = ask(&router, Method::GET, "/alarm").await;
    let by_layer = ask(&router, Method::GET, "/layer").await;
    assert_eq!(by_extractor.0, StatusCode::FORBIDDEN);
    assert_eq!(by_extractor.1["x-license-reason"], "not_in_license");
    assert_eq!(by_extractor.2, by_layer.2);
}

#[test]
fn a_fixed_gate_has_core_features_and_no_others() {
    let gate = Gate::fixed([MAP_VIEW, LIVE_VIEW]);
    assert_eq!(gate.check(MAP_VIEW).reason, Reason::Licensed);
    assert_eq!(gate.check(LIVE_VIEW).reason, Reason::Core);
    assert_eq!(gate.check("module.playback").reason, Reason::Core);
    assert_eq!(gate.check(ALARM), Decision::no(Reason::NotInLicense));
    assert!(gate.is_in_contact());
    assert_eq!(gate.last_error(), None);
    assert!(gate.wait_until_ready(std::time::Duration::ZERO));
    assert!(!Gate::fixed::<&str>([]).is_available(MAP_VIEW));
}

#[tokio::test]
async fn a_scripted_gate_decides_as_scripted() {
    let (gate, script) = Gate::scripted();
    assert!(gate.ready(std::time::Duration::ZERO).await);
    assert!(!gate.is_available(MAP_VIEW));
    script.license(MAP_VIEW);
    assert_eq!(gate.check(MAP_VIEW).reason, Reason::Licensed);
    script.refuse(LIVE_VIEW, Reason::NoLicense);
    assert!(!gate.is_available(LIVE_VIEW));
    script.decide(MAP_VIEW, Decision::yes(Reason::GracePeriod));
    assert_eq!(gate.check(MAP_VIEW).reason, Reason::GracePeriod);
    assert_eq!(
        (gate.tier(), gate.limit(Resource::Users)),
        (None, Limit::Unknown)
    );
    script.tier("enterprise");
    script.limit(Resource::Users, Limit::AtMost(3));
    assert_eq!(gate.tier().as_deref(), Some("enterprise"));
    assert_eq!(gate.limit(Resource::Users), Limit::AtMost(3));
    assert_eq!(gate.limit(Resource::Cameras), Limit::Unknown);
    assert_eq!(gate.limit("users"), Limit::AtMost(3));
    script.limit("anpr_lanes", Limit::AtMost(8));
    assert_eq!(gate.limit("anpr_lanes"), Limit::AtMost(8));
    script.contact(false);
    assert!(!gate.is_in_contact());
    assert!(gate.is_available(MAP_VIEW));
}

/// Records everything.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Entry>>>);

type Entry = (Option<String>, Reason);

impl Hook for Heard {
    fn decided(&self, feature: Option<&str>, decision: Decision) {
        let feature = feature.map(str::to_owned);
        self.0.lock().unwrap().push((feature, decision.reason));
    }
}

#[tokio::test]
async fn hooks_are_called_for_every_decision() {
    let (heard, counters) = (Heard::default(), Counters::default());
    let gate = Gate::builder("http://license-client:8010")
        .hook(heard.clone())
        .hook(counters.clone())
        .fixed([MAP_VIEW]);
    assert!(gate.is_available(FeatureKey::from(MAP_VIEW)));
    let routes = Routes::new()
        .feature("/alarm", ALARM)
        .and_then(|routes| routes.open("/open"))
        .unwrap();
    let router = Router::new()
        .fallback(|| async {})
        .layer(gate.layer_by_path(routes));
    for path in ["/alarm", "/open", "/else", "/../x"] {
        ask(&router, Method::GET, path).await;
    }
    let alarm = Some(ALARM.to_owned());
    let expected = [
        (Some(MAP_VIEW.to_owned()), Reason::Licensed),
        (alarm, Reason::NotInLicense),
        (None, Reason::NoFeatureNeeded),
        (None, Reason::NotListed),
        (None, Reason::BadPath),
    ];
    assert_eq!(*heard.0.lock().unwrap(), expected);
    assert_eq!(counters.get(MAP_VIEW, Reason::Licensed), 1);
    assert_eq!(counters.get(ALARM, Reason::NotInLicense), 1);
    assert_eq!(counters.all().len(), 5);
}

/// Errors expose no types of other libraries, and can be compared and stored.
#[test]
fn errors_are_plain() {
    fn plain<E: std::error::Error + Clone + PartialEq + Send + Sync + 'static>() {}
    plain::<license_gate::GateError>();
    plain::<license_gate::ContactError>();
    plain::<license_gate::RouteError>();
}

/// Threads cache the tables that they have used, for this gate and its current state.
#[test]
fn every_thread_sees_every_change_of_its_gates() {
    let gates: Vec<_> = (0..40).map(|_| Gate::scripted()).collect();
    let all = std::sync::Barrier::new(5);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for turn in 0..50 {
                    all.wait();
                    for (number, (gate, _)) in gates.iter().enumerate() {
                        let expected = (number + turn) % 3 == 0;
                        assert_eq!(gate.is_available(MAP_VIEW), expected, "{number} {turn}");
                    }
                    all.wait();
                }
            });
        }
        for turn in 0..50 {
            for (number, (_, script)) in gates.iter().enumerate() {
                match (number + turn) % 3 == 0 {
                    true => script.license(MAP_VIEW),
                    false => script.refuse(MAP_VIEW, Reason::Revoked),
                }
            }
            all.wait();
            all.wait();
        }
    });
}

/// A gate still answers while the calling thread ends.
#[test]
fn an_ending_thread_gets_decisions() {
    struct AsksAtTheEnd(Gate, Arc<Mutex<Option<bool>>>);
    impl Drop for AsksAtTheEnd {
        fn drop(&mut self) {
            *self.1.lock().unwrap() = Some(self.0.is_available(MAP_VIEW));
        }
    }
    thread_local! {
        static LAST: std::cell::RefCell<Option<AsksAtTheEnd>> =
            const { std::cell::RefCell::new(None) };
    }
    let (gate, answer) = (Gate::fixed([MAP_VIEW]), Arc::default());
    let kept = AsksAtTheEnd(gate.clone(), Arc::clone(&answer));
    let thread = std::thread::spawn(move || {
        LAST.with(|last| *last.borrow_mut() = Some(kept));
        gate.is_available(MAP_VIEW)
    });
    assert!(thread.join().unwrap());
    assert_eq!(*answer.lock().unwrap(), Some(true));
}
