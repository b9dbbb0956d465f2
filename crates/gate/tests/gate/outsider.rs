//! A program outside this workspace that depends on the gate.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chrono::{DateTime, TimeDelta, Utc};
use license_core::announcement::Signed;
use license_core::document::LicenseClaims;

use crate::scripted_client::{ScriptedClient, announcement, said};
use crate::signer::{Signer, license_claims};

/// Maximum number of packages that the gate adds to a program, including itself and the rules.
const MAX_PACKAGES: usize = 116;

/// A copy that depends on the gate by path, with the versions of the workspace.
fn outsider() -> PathBuf {
    let gate = Path::new(env!("CARGO_MANIFEST_DIR"));
    let here = gate.join("tests/outsider");
    let there = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outsider");
    fs::create_dir_all(there.join("src")).unwrap();
    let manifest = fs::read_to_string(here.join("Cargo.toml")).unwrap();
    let path = format!("path = {:?}", gate.to_str().unwrap());
    let set = manifest.replace(r#"path = "../..""#, &path);
    assert_ne!(set, manifest, "the manifest has no path to set");
    fs::write(there.join("Cargo.toml"), set).unwrap();
    fs::copy(here.join("src/main.rs"), there.join("src/main.rs")).unwrap();
    fs::copy(gate.join("../../Cargo.lock"), there.join("Cargo.lock")).unwrap();
    there
}

fn cargo(directory: &Path, arguments: &[&str]) -> Output {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    Command::new(env!("CARGO"))
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", target)
        .args(arguments)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn now() -> DateTime<Utc> {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    DateTime::from_timestamp(i64::try_from(since).unwrap(), 0).unwrap()
}

/// A program with the gate parses JSON as it does without, and the gate still verifies
/// signed documents.
#[test]
fn the_gate_does_not_change_json_handling() {
    let vendor = Signer::vendor();
    let mut claims = LicenseClaims {
        iat: now(),
        nbf: now(),
        valid_until: now() + TimeDelta::hours(24),
        exp: now() + TimeDelta::hours(96),
        ..license_claims()
    };
    // Unknown fields, in an order and with digits that the gate does not preserve.
    let unknown = serde_json::json!({"b": 1.50, "a": u64::MAX});
    claims.license.insert("aaa".to_owned(), unknown);
    let signed = Signed {
        license: vendor.license(&claims),
        key_sets: Vec::new(),
    };
    let told = announcement(&vendor.evidence(&claims), now());
    let client = ScriptedClient::start(said(&told, now(), Some(signed)));
    let keys = serde_json::to_string(&vendor.jwk_set()).unwrap();

    let output = cargo(
        &outsider(),
        &["run", "--offline", "--quiet", "--", &client.url, &keys],
    );
    let printed = text(&output);
    let expected = "module.map_view: licensed\n\
                    module.alarm_advanced: not_in_license\n\
                    module.live_view: core\n";
    assert_eq!(printed, expected);
}

/// Cargo unifies features, so the program gets every feature that the gate
/// enables.
#[test]
fn the_gate_adds_few_packages_and_no_features_that_change_a_program() {
    let tree = ["tree", "--offline", "--edges", "normal", "--prefix", "none"];
    let tree = [&tree[..], &["--format", "{p}|{f}"]].concat();
    let tree = text(&cargo(&outsider(), &tree));
    let mut features: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in tree.lines() {
        let line = line.trim_end_matches(" (*)");
        let (package, on) = line.split_once('|').unwrap();
        let (name, _) = package.split_once(' ').unwrap();
        let all = features.entry(name).or_default();
        all.extend(on.split(',').filter(|feature| !feature.is_empty()));
        all.sort_unstable();
        all.dedup();
    }
    let packages = features.len();
    let names: Vec<&&str> = features.keys().collect();
    assert!(packages <= MAX_PACKAGES, "{packages} packages: {names:?}");
    for (package, expected) in [
        ("serde_json", "default std"),
        ("axum", "original-uri"),
        ("tokio", "default libc mio net rt socket2 sync time"),
        ("http", "default std"),
        ("rustix", "alloc process std time"),
        ("hyper", "client default http1"),
        ("tracing", "std"),
    ] {
        assert_eq!(features[package].join(" "), expected, "{package}");
    }
    for absent in [
        "openssl",
        "aws-lc-rs",
        "ring",
        "regex",
        "tokio-macros",
        "url-escape",
    ] {
        assert!(!features.contains_key(absent), "{absent}");
    }
}
