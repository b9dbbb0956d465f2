//! What identifies a machine, and whether it is still the same one.
//!
//! The hardware id is settled once and kept. Beside it, a keyed hash of each
//! component is kept, so that a change can be seen and reported; it never
//! denies by itself. No component's value is in what these types hold.

use std::collections::{BTreeMap, BTreeSet};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The hardware id that version 1.0.0 computes, 64 hexadecimal digits.
///
/// `node` is the first interface's MAC as a number, `cpus` the number of
/// online processors, `system` and `machine` what `uname -s` and `-m` say.
/// That version shifts by bits where it meant bytes, so that only the low 18
/// bits of the MAC count; it has to be reproduced as it is.
#[must_use]
pub fn version_1_id(node: u64, cpus: u64, system: &str, machine: &str) -> String {
    let groups: Vec<String> = (0..6)
        .map(|group| format!("{:02x}", (node >> (10 - 2 * group)) & 0xff))
        .collect();
    let mac = groups.join(":");
    hex(&Sha256::digest(format!("{mac}|{cpus}|{system}|{machine}")))
}

/// A part of a machine that stays with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// The operating system's installation (`/etc/machine-id`).
    MachineId,
    /// The firmware's UUID of the machine.
    ProductUuid,
    /// The main board's serial number.
    BoardSerial,
    /// The disk that holds the root file system.
    RootDisk,
    /// The permanent addresses of the network cards; one of them is enough to
    /// be the same.
    NetworkCards,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::MachineId,
        Self::ProductUuid,
        Self::BoardSerial,
        Self::RootDisk,
        Self::NetworkCards,
    ];

    /// A short word that programs can compare.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MachineId => "machine_id",
            Self::ProductUuid => "product_uuid",
            Self::BoardSerial => "board_serial",
            Self::RootDisk => "root_disk",
            Self::NetworkCards => "network_cards",
        }
    }
}

/// The keyed hashes of a machine's components.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(BTreeMap<Component, BTreeSet<String>>);

impl Fingerprint {
    /// Hashes the values of each component with `secret` (HMAC-SHA-256, RFC
    /// 2104). The same value of two components has two hashes.
    #[must_use]
    pub fn of(values: &BTreeMap<Component, BTreeSet<String>>, secret: &[u8; 64]) -> Self {
        let hashed = values.iter().filter(|(_, values)| !values.is_empty());
        Self(
            hashed
                .map(|(component, values)| {
                    let hash = |value: &String| keyed_hash(secret, *component, value);
                    (*component, values.iter().map(hash).collect())
                })
                .collect(),
        )
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether a machine is one that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// More than half of what can be compared is the same.
    Same,
    /// Half or less is the same.
    Drifted,
    /// There is too little to compare: nothing known yet, or fewer than two
    /// components, as in a locked-down container.
    Unknown,
}

/// What became of one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// As it was.
    Same,
    /// Another one.
    Changed,
    /// It was there and cannot be read any more. Not compared.
    Missing,
    /// It can be read for the first time. Not compared.
    New,
}

/// A machine compared with those that are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Taken together.
    pub verdict: Verdict,
    /// Each component that is or was there, against the known machine that is
    /// most alike.
    pub components: BTreeMap<Component, Change>,
}

impl Comparison {
    /// The components that are other ones now.
    pub fn changed(&self) -> impl Iterator<Item = Component> {
        let changed = self.components.iter();
        changed
            .filter(|(_, change)| **change == Change::Changed)
            .map(|(component, _)| *component)
    }
}

/// Compares `now` with the machines that are known: one, or several where
/// replicas share a database.
#[must_use]
pub fn compare(known: &[Fingerprint], now: &Fingerprint) -> Comparison {
    let compared = known.iter().map(|known| against(known, now));
    compared
        .max_by_key(|(same, comparison)| (rank(comparison.verdict), *same))
        .map_or_else(
            || Comparison {
                verdict: Verdict::Unknown,
                components: now.0.keys().map(|key| (*key, Change::New)).collect(),
            },
            |(_, comparison)| comparison,
        )
}

/// How many components are the same, and the comparison.
fn against(known: &Fingerprint, now: &Fingerprint) -> (usize, Comparison) {
    let mut components = BTreeMap::new();
    for component in Component::ALL {
        let change = match (known.0.get(&component), now.0.get(&component)) {
            (None, None) => continue,
            (None, Some(_)) => Change::New,
            (Some(_), None) => Change::Missing,
            (Some(before), Some(now)) if before.is_disjoint(now) => Change::Changed,
            (Some(_), Some(_)) => Change::Same,
        };
        components.insert(component, change);
    }
    let count = |wanted| components.values().filter(|c| **c == wanted).count();
    let (same, changed) = (count(Change::Same), count(Change::Changed));
    let verdict = if same + changed < 2 {
        Verdict::Unknown
    } else if same > changed {
        Verdict::Same
    } else {
        Verdict::Drifted
    };
    (
        same,
        Comparison {
            verdict,
            components,
        },
    )
}

/// A machine that is known beats one that cannot be compared, and that one
/// beats a stranger.
fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Same => 2,
        Verdict::Drifted => 1,
        Verdict::Unknown => 0,
    }
}

fn keyed_hash(secret: &[u8; 64], component: Component, value: &str) -> String {
    let mut mac = Hmac::<Sha256>::new(secret.into());
    mac.update(component.as_str().as_bytes());
    mac.update(b"\0");
    mac.update(value.as_bytes());
    hex(&mac.finalize().into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
