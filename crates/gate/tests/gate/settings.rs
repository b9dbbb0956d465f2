//! Invalid settings.

use std::time::Duration;

use license_gate::{Counters, FeatureKey, Gate, GateBuilder, GateLayer, WithoutContact};

use crate::scripted_client::{LIVE_VIEW, MAP_VIEW, Manner, ScriptedClient, announcement, said};
use crate::signer::{Signer, T0, license_claims};

#[tokio::test]
async fn errors_name_the_problem_and_the_expected_values() {
    for (url, says) in [
        ("", "which looks like http://license-client:8010"),
        ("license-client", "not the address of a License Client"),
        ("ftp://license-client", "expected http"),
        ("http://me:2024/hunter2@license-client", "/ is %2F"),
        ("ftp://me:hunter2@license-client", "expected http"),
    ] {
        let error = Gate::builder(url).start().unwrap_err();
        let error = format!("{error} {error:?}");
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let error = Gate::builder("http://x").keys("{}").start().unwrap_err();
    assert!(error.to_string().starts_with("invalid keys: "), "{error}");
    let none = r#"{"keys": []}"#;
    let error = Gate::builder("http://x").keys(none).start().unwrap_err();
    assert!(error.to_string().contains("no Ed25519 key"), "{error}");
}

#[test]
fn the_settings_of_a_gate_are_printed_without_secrets() {
    let gate = Gate::builder("http://me:hunter2@license-client/hunter2").token("hunter2hunter2");
    let printed = format!("{gate:?} {gate:#?}");
    assert!(printed.contains("token"), "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[tokio::test]
async fn keys_cannot_be_combined_with_allow() {
    let keys = serde_json::to_string(&Signer::vendor().jwk_set()).unwrap();
    let gate = Gate::builder("http://x").keys(&keys);
    let gate = gate.without_contact(WithoutContact::Allow);
    let error = gate.start().unwrap_err().to_string();
    assert!(error.contains("remove one of them"), "{error}");
}

/// Extreme durations work in all combinations: none panics, and the gate follows.
#[test]
fn no_duration_is_too_long_or_too_short() {
    let evidence = Signer::vendor().evidence(&license_claims());
    let client = ScriptedClient::start(said(&announcement(&evidence, T0), T0, None));
    for duration in [Duration::MAX, Duration::from_secs(u64::MAX / 2)] {
        let gate = Gate::builder(&client.url)
            .idle_timeout(duration)
            .contact_timeout(duration)
            .without_contact(WithoutContact::Deny)
            .start()
            .unwrap();
        assert!(gate.wait_until_ready(Duration::from_secs(5)));
        assert!(gate.is_available(MAP_VIEW));
    }
    let client = ScriptedClient::start(Manner::Hangs);
    let gate = Gate::builder(&client.url)
        .idle_timeout(Duration::ZERO)
        .contact_timeout(Duration::ZERO)
        .start()
        .unwrap();
    assert!(!gate.wait_until_ready(Duration::from_millis(50)));
    assert!(gate.is_available(LIVE_VIEW));
}

/// Settings that a program stores or passes on do not depend on how they were created.
#[test]
fn settings_can_be_cloned_and_a_gate_is_small() {
    fn shareable<T: Clone + Send + Sync + 'static>() {}
    shareable::<Gate>();
    shareable::<GateBuilder>();
    shareable::<GateLayer>();
    shareable::<FeatureKey>();
    shareable::<Counters>();
    assert_eq!(size_of::<Gate>(), size_of::<usize>());
    let builder = Gate::builder("http://license-client:8010");
    let (one, other) = (builder.clone(), builder);
    drop((one.fixed([MAP_VIEW]), other.fixed([MAP_VIEW])));
}

#[test]
fn the_debug_output_of_a_gate_is_short() {
    let keys = (0..10_000).map(|number| format!("{number:0100}"));
    let gate = Gate::fixed(keys);
    let printed = format!("{gate:?}");
    assert!(printed.len() < 300, "{} characters", printed.len());
    assert!(printed.contains("features: 10005"), "{printed}");
    let printed = format!("{:?}", gate.layer(MAP_VIEW));
    assert!(printed.len() < 400, "{} characters", printed.len());
    assert!(printed.contains(MAP_VIEW), "{printed}");
}

/// The feature is also enabled where the License Client's tests are built.
#[cfg(feature = "tls")]
#[test]
fn invalid_certificates_are_rejected_and_not_shown() {
    let pem = "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n";
    for (root, client, says) in [
        (Some(pem), None, "root certificate"),
        (Some("hunter2"), None, "root certificate"),
        (None, Some("hunter2"), "client certificate"),
        (None, Some(pem), "client certificate"),
    ] {
        let mut gate = Gate::builder("https://license-client");
        if let Some(root) = root {
            gate = gate.root_certificate(root);
        }
        if let Some(client) = client {
            gate = gate.client_certificate(client);
        }
        let printed = format!("{gate:?}");
        let error = gate.start().unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert!(
            !format!("{printed}{error}{error:?}").contains("hunter2"),
            "{error}"
        );
    }
    assert!(Gate::builder("https://license-client").start().is_ok());
}
