//! Settings that cannot be used.

use license_gate::Gate;

#[tokio::test]
async fn what_is_wrong_is_said_with_what_is_accepted() {
    for (url, says) in [
        (
            "",
            "'' is no address of a License Client; one looks like http://license-client:8010",
        ),
        ("license-client", "'license-client' is no address"),
        ("ftp://license-client", "accepted are http"),
    ] {
        let error = Gate::builder(url).start().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
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
