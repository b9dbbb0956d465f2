//! Settings that cannot be used.

use license_gate::Gate;

#[tokio::test]
async fn what_is_wrong_is_said_with_what_is_accepted() {
    for (url, says) in [
        ("", "which looks like http://license-client:8010"),
        ("license-client", "not the address of a License Client"),
        ("ftp://license-client", "accepted are http"),
        ("http://me:2024/hunter2@license-client", "/ is %2F"),
        ("ftp://me:hunter2@license-client", "accepted are http"),
    ] {
        let error = Gate::builder(url).start().unwrap_err();
        let error = format!("{error} {error:?}");
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let error = Gate::builder("http://x").keys("{}").start().unwrap_err();
    assert!(
        error.to_string().starts_with("the keys of the gate: "),
        "{error}"
    );
    let none = r#"{"keys": []}"#;
    let error = Gate::builder("http://x").keys(none).start().unwrap_err();
    assert!(error.to_string().contains("no Ed25519 key"), "{error}");
}

/// Whoever prints a gate's settings does not print its token.
#[test]
fn the_settings_of_a_gate_are_printed_without_secrets() {
    let gate = Gate::builder("http://me:hunter2@license-client/hunter2").token("hunter2hunter2");
    let printed = format!("{gate:?} {gate:#?}");
    assert!(printed.contains("token"), "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[tokio::test]
async fn keys_and_letting_everything_through_contradict_each_other() {
    let keys = serde_json::to_string(&crate::signer::Signer::vendor().jwk_set()).unwrap();
    let gate = Gate::builder("http://x").keys(&keys);
    let gate = gate.without_contact(license_gate::WithoutContact::Allow);
    let error = gate.start().unwrap_err().to_string();
    assert!(error.contains("choose one of the two"), "{error}");
}

#[test]
fn a_gate_needs_a_runtime() {
    let error = Gate::builder("http://x").start().unwrap_err();
    assert_eq!(
        error.to_string(),
        "a gate has to be started on a tokio runtime"
    );
}
