//! A gate follows the License Client independently of the program, and reports when it
//! cannot.

use std::time::Duration;

use axum::http::StatusCode;
use license_core::announcement::Told;
use license_core::evidence::Evidence;
use license_gate::{ContactError, Gate, WithoutContact};
use tokio::runtime::Builder;

use crate::log;
use crate::scripted_client::{
    ALARM, LIVE_VIEW, MAP_VIEW, Manner, ScriptedClient, announcement, said, text,
};
use crate::signer::{Signer, T0, license_claims};

fn licensed() -> Manner {
    let evidence = Signer::vendor().evidence(&license_claims());
    said(&announcement(&evidence, T0), T0, None)
}

fn unlicensed() -> Manner {
    said(&announcement(&Evidence::default(), T0), T0, None)
}

/// As [`crate::scripted_client::until`], without a runtime.
fn until(gate: &Gate, feature: &str, reason: &str) {
    for _ in 0..500 {
        if gate.check(feature).reason.code() == reason {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{feature} is still {:?}, not {reason}", gate.check(feature));
}

#[test]
fn a_gate_needs_no_runtime() {
    let client = ScriptedClient::start(licensed());
    let gate = Gate::builder(&client.url).start().unwrap();
    assert!(gate.wait_until_ready(Duration::from_secs(5)));
    assert!(gate.is_available(MAP_VIEW));
    client.now(unlicensed());
    until(&gate, MAP_VIEW, "no_license");
}

#[test]
fn a_gate_outlives_the_runtime_where_it_was_started() {
    for builder in [Builder::new_multi_thread, Builder::new_current_thread] {
        let client = ScriptedClient::start(licensed());
        // Without timers, and dropped.
        let runtime = builder().build().unwrap();
        let gate = runtime.block_on(async {
            let gate = Gate::builder(&client.url).without_contact(WithoutContact::Deny);
            let gate = gate.start().unwrap();
            assert!(gate.ready(Duration::from_secs(5)).await);
            gate
        });
        assert!(gate.is_available(MAP_VIEW));
        drop(runtime);
        client.now(unlicensed());
        until(&gate, MAP_VIEW, "no_license");
    }
}

#[test]
fn a_gate_follows_while_a_runtime_is_not_driven() {
    let client = ScriptedClient::start(licensed());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let gate = runtime.block_on(async { Gate::builder(&client.url).start().unwrap() });
    until(&gate, MAP_VIEW, "licensed");
    client.now(unlicensed());
    until(&gate, MAP_VIEW, "no_license");
    drop(runtime);
}

/// Timeouts are handled by the gate, so that any executor works.
#[test]
fn waiting_for_a_gate_needs_no_timer() {
    let client = ScriptedClient::start(Manner::Hangs);
    let gate = Gate::builder(&client.url).start().unwrap();
    let runtime = Builder::new_current_thread().build().unwrap();
    assert!(!runtime.block_on(gate.ready(Duration::from_millis(50))));
    assert!(!futures_executor_block_on(
        gate.ready(Duration::from_millis(50))
    ));
    assert!(!gate.wait_until_ready(Duration::from_millis(50)));
}

/// A minimal executor.
fn futures_executor_block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

/// The first failure is logged, and each different one; repeated ones are not.
#[test]
fn a_gate_without_contact_logs_the_reason_without_secrets() {
    log::keep();
    let mut client = ScriptedClient::start(Manner::Refuses(StatusCode::UNAUTHORIZED));
    let address = client.url.strip_prefix("http://").unwrap().to_owned();
    let url = format!("http://operator:hunter2@{address}");
    let gate = Gate::builder(&url).token("hunter2hunter2").start().unwrap();
    let own = format!("url=http://{address}");
    log::until(&own, "does not trust this gateway");
    assert_eq!(gate.last_error(), Some(ContactError::Untrusted));
    assert!(gate.is_available(LIVE_VIEW));
    // Several attempts later there is still one line.
    for _ in 0..500 {
        if client.asked().len() > 3 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(log::lines(&own).len(), 1, "{:#?}", log::lines(&own));

    client.now(Manner::Refuses(StatusCode::NOT_FOUND));
    log::until(&own, "has status 404");
    client.now(Manner::EndsAfter("<html>".to_owned()));
    log::until(&own, "is it version 2 or later?");
    client.now(licensed());
    log::until(&own, "in contact with the License Client");
    assert_eq!(gate.last_error(), None);
    assert!(gate.is_available(MAP_VIEW));
    client.stop();
    let lines = log::until(&own, "contact with the License Client lost");
    let warnings = lines.iter().filter(|line| line.contains("WARN")).count();
    assert!(warnings >= 4, "{lines:#?}");
    assert!(gate.last_error().is_some());
    assert!(
        !lines.iter().any(|line| line.contains("hunter2")),
        "{lines:#?}"
    );
    assert!(!format!("{gate:?} {:?}", gate.last_error()).contains("hunter2"));
}

#[test]
fn an_unreachable_license_client_is_reported() {
    log::keep();
    let mut client = ScriptedClient::start(Manner::Hangs);
    client.stop();
    let gate = Gate::builder(&client.url).start().unwrap();
    log::until(&format!("url={}", client.url), "connection failed");
    assert!(matches!(
        gate.last_error(),
        Some(ContactError::Connection(_))
    ));
    assert!(!gate.is_in_contact());
}

/// 10,000 features with keys of maximum length, in all possible states.
#[test]
fn the_largest_site_is_followed() {
    let evidence = Signer::vendor().evidence(&license_claims());
    let mut large = announcement(&evidence, T0);
    let licensed = large.features[MAP_VIEW].clone();
    let keys: Vec<String> = (0..10_000).map(|number| format!("{number:0100}")).collect();
    for key in &keys {
        large.features.insert(key.clone(), licensed.clone());
        for later in &mut large.then {
            let grace = Told {
                available: true,
                reason: "grace_period".to_owned(),
            };
            later.features.insert(key.clone(), grace);
        }
    }
    let event = text(&large, T0, None);
    assert!(event.len() > 4 * 1024 * 1024, "{} bytes", event.len());
    let client = ScriptedClient::start(Manner::Says(event));
    let gate = Gate::builder(&client.url).start().unwrap();
    assert!(gate.wait_until_ready(Duration::from_secs(30)), "{gate:?}");
    assert!(keys.iter().all(|key| gate.is_available(key)));
    assert_eq!(gate.check(ALARM).reason.code(), "not_in_license");
    assert!(format!("{gate:?}").len() < 300);
}

/// An unknown key is probably misspelled, and is never available.
#[test]
fn an_unknown_key_is_logged_as_a_warning() {
    log::keep();
    let client = ScriptedClient::start(licensed());
    let gate = Gate::builder(&client.url).start().unwrap();
    let _before = gate.layer("module.map_veiw");
    assert!(gate.wait_until_ready(Duration::from_secs(5)));
    log::until("module.map_veiw", "misspelled");
    gate.expect("module.alarm_advnaced");
    gate.expect("module.alarm_advnaced");
    log::until("module.alarm_advnaced", "misspelled");
    gate.expect(MAP_VIEW);
    assert_eq!(log::lines("module.alarm_advnaced").len(), 1);
}
