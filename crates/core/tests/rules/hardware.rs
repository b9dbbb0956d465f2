//! The hardware id of version 1.0.0, and the comparison of machines.

use std::collections::{BTreeMap, BTreeSet};

use license_core::hardware::{Change, Component, Fingerprint, Verdict, compare, version_1_id};

fn node(mac: &str) -> u64 {
    u64::from_str_radix(&mac.replace(':', ""), 16).unwrap()
}

#[test]
fn the_hardware_id_of_version_1_is_reproduced_with_its_bug() {
    for (mac, cpus, expected) in [
        (
            "02:42:ac:11:00:02",
            8,
            "c9bd94e1f5ed7df4ff52ed1f4d5ee2e4f76361a930e1579e3c943fdf4a9d824e",
        ),
        (
            "02:42:ac:11:00:03",
            8,
            "d2a67837b5e50dee662a0d3fb43d98b38d25e10ecf125ba153601374e1014d90",
        ),
        (
            "02:42:ac:12:00:02",
            8,
            "861d62d80788140965d87b185e268e90f039bdf6db390f4465169d39714bae26",
        ),
        (
            "02:42:ac:11:00:02",
            4,
            "7e998a302a4399f617141d65066da1b60d48bd1e4a8e7c525bc815512a930513",
        ),
        (
            "ff:ff:ff:ff:ff:ff",
            4,
            "bbe1168ce6b87854cd66af76e139f04c1d3b49c876098c362df938e9d6e5173b",
        ),
    ] {
        let id = version_1_id(node(mac), cpus, "Linux", "x86_64");
        assert_eq!(id, expected, "{mac} {cpus}");
    }
    // Only the low 18 bits of the address count.
    assert_eq!(
        version_1_id(node("aa:bb:cc:11:00:02"), 8, "Linux", "x86_64"),
        version_1_id(node("02:42:ac:11:00:02"), 8, "Linux", "x86_64"),
    );
}

fn machine(parts: &[(Component, &[&str])]) -> Fingerprint {
    machine_of(parts, 7)
}

fn machine_of(parts: &[(Component, &[&str])], secret: u8) -> Fingerprint {
    let values: BTreeMap<Component, BTreeSet<String>> = parts
        .iter()
        .map(|(component, values)| (*component, values.iter().map(ToString::to_string).collect()))
        .collect();
    Fingerprint::of(&values, &[secret; 64])
}

use Component::{BoardSerial, MachineId, NetworkCards, ProductUuid, RootDisk};

const SERVER: [(Component, &[&str]); 5] = [
    (MachineId, &["m1"]),
    (ProductUuid, &["p1"]),
    (BoardSerial, &["b1"]),
    (RootDisk, &["d1"]),
    (NetworkCards, &["n1", "n2"]),
];

fn with(changes: &[(Component, &'static [&'static str])]) -> Fingerprint {
    let mut parts = SERVER;
    for part in &mut parts {
        if let Some(change) = changes.iter().find(|change| change.0 == part.0) {
            *part = *change;
        }
    }
    machine(&parts)
}

#[test]
fn more_than_half_of_the_comparable_components_have_to_match() {
    let known = [machine(&SERVER)];
    let verdict = |now: &Fingerprint| compare(&known, now).verdict;
    assert_eq!(verdict(&machine(&SERVER)), Verdict::Same);
    assert_eq!(verdict(&with(&[(RootDisk, &["d2"])])), Verdict::Same);
    let two = with(&[(RootDisk, &["d2"]), (NetworkCards, &["n3"])]);
    assert_eq!(verdict(&two), Verdict::Same);
    let three = with(&[
        (RootDisk, &["d2"]),
        (NetworkCards, &["n3"]),
        (MachineId, &["m2"]),
    ]);
    assert_eq!(verdict(&three), Verdict::Drifted);
    let changed: Vec<_> = compare(&known, &three).changed().collect();
    assert_eq!(changed, [MachineId, RootDisk, NetworkCards]);
    // Half is not more than half.
    let half = machine(&[(MachineId, &["m1"]), (RootDisk, &["other"])]);
    assert_eq!(verdict(&half), Verdict::Drifted);
}

#[test]
fn one_network_card_of_several_is_enough() {
    let known = [machine(&SERVER)];
    let comparison = compare(&known, &with(&[(NetworkCards, &["n2", "n9"])]));
    assert_eq!(comparison.components[&NetworkCards], Change::Same);
}

#[test]
fn fewer_than_two_components_are_not_compared() {
    let known = [machine(&SERVER)];
    let one = machine(&[(MachineId, &["m2"])]);
    assert_eq!(compare(&known, &one).verdict, Verdict::Unknown);
    assert_eq!(compare(&known, &machine(&[])).verdict, Verdict::Unknown);
    assert_eq!(compare(&[], &machine(&SERVER)).verdict, Verdict::Unknown);
    let before = [machine(&[(MachineId, &["m1"])])];
    let comparison = compare(&before, &machine(&SERVER));
    assert_eq!(comparison.verdict, Verdict::Unknown);
    assert_eq!(comparison.components[&RootDisk], Change::New);
    let after = compare(&known, &one);
    assert_eq!(after.components[&RootDisk], Change::Missing);
}

#[test]
fn one_of_several_known_machines_has_to_match() {
    let other = [
        (MachineId, &["m9"][..]),
        (ProductUuid, &["p9"]),
        (BoardSerial, &["b9"]),
    ];
    let known = [machine(&other), machine(&SERVER)];
    assert_eq!(compare(&known, &machine(&SERVER)).verdict, Verdict::Same);
    assert_eq!(compare(&known, &machine(&other)).verdict, Verdict::Same);
    let unknown = [(MachineId, &["x"][..]), (ProductUuid, &["y"])];
    assert_eq!(
        compare(&known, &machine(&unknown)).verdict,
        Verdict::Drifted
    );
}

#[test]
fn hashes_depend_on_the_secret_and_the_component() {
    assert_ne!(machine_of(&SERVER, 1), machine_of(&SERVER, 2));
    let text = serde_json::to_string(&machine(&[(MachineId, &["same"]), (RootDisk, &["same"])]));
    let text = text.unwrap();
    assert!(!text.contains("same"));
    let hashes: BTreeMap<String, BTreeSet<String>> = serde_json::from_str(&text).unwrap();
    assert_ne!(hashes["machine_id"], hashes["root_disk"]);
    // An empty list of values is not a component.
    assert!(machine(&[(NetworkCards, &[])]).is_empty());
}

#[test]
fn a_known_machine_ranks_above_one_that_cannot_be_compared() {
    assert!(machine(&[]).is_empty());
    let now = machine(&[
        (MachineId, &["a"]),
        (RootDisk, &["b"]),
        (BoardSerial, &["c"]),
    ]);
    assert!(!now.is_empty());
    // More components match the unknown machine, and fewer can be compared.
    let unknown = machine(&[(MachineId, &["a"])]);
    let drifted = machine(&[(MachineId, &["x"]), (RootDisk, &["y"])]);
    let same = machine(&[(MachineId, &["a"]), (RootDisk, &["b"])]);
    let verdict = |known: &[&Fingerprint]| {
        let known: Vec<Fingerprint> = known.iter().map(|it| (*it).clone()).collect();
        compare(&known, &now).verdict
    };
    for known in [
        [&unknown, &drifted, &same],
        [&same, &drifted, &unknown],
        [&drifted, &same, &unknown],
    ] {
        assert_eq!(verdict(&known), Verdict::Same);
    }
    assert_eq!(verdict(&[&unknown, &drifted]), Verdict::Drifted);
    assert_eq!(verdict(&[&drifted, &unknown]), Verdict::Drifted);
    assert_eq!(verdict(&[&unknown]), Verdict::Unknown);
}
