//! Identifies a machine, and detects whether it has changed.
//!
//! The hardware id is computed once and stored. A keyed hash of each component is stored with it,
//! so that changes can be detected and reported; a change alone denies nothing. These types do not
//! contain the value of any component.

use std::collections::{BTreeMap, BTreeSet};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The hardware id that version 1.0.0 computes, 64 hexadecimal digits.
///
/// `node` is the first interface's MAC address as a number, `cpus` the number of online
/// processors, and `system` and `machine` the output of `uname -s` and `-m`. That version
/// shifts by bits instead of bytes, so that only the low 18 bits of the MAC address count.
/// This has to be reproduced exactly.
#[must_use]
pub fn version_1_id(node: u64, cpus: u64, system: &str, machine: &str) -> String {
    let groups: Vec<String> = (0..6)
        .map(|group| format!("{:02x}", (node >> (10 - 2 * group)) & 0xff))
        .collect();
    let mac = groups.join(":");
    hex(&Sha256::digest(format!("{mac}|{cpus}|{system}|{machine}")))
}

/// A component that identifies a machine.
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
    /// The permanent addresses of the network cards; one matching card is enough.
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

    /// A code for programs.
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
    /// Hashes the values of each component with `secret` (HMAC-SHA-256, RFC 2104). The same
    /// value has different hashes in different components.
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

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether a machine is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// More than half of the comparable components match.
    Same,
    /// Half or less match.
    Drifted,
    /// Nothing to compare: no machine is known yet, or there are fewer than two
    /// components, as in a locked-down container.
    Unknown,
}

/// How a component has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Unchanged.
    Same,
    /// Changed.
    Changed,
    /// Was readable, but no longer is. Not compared.
    Missing,
    /// Readable for the first time. Not compared.
    New,
}

/// The comparison of a machine with the known ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The overall result.
    pub verdict: Verdict,
    /// Each present or former component, compared with the most similar known
    /// machine.
    pub components: BTreeMap<Component, Change>,
}

impl Comparison {
    /// The changed components.
    pub fn changed(&self) -> impl Iterator<Item = Component> {
        let changed = self.components.iter();
        changed
            .filter(|(_, change)| **change == Change::Changed)
            .map(|(component, _)| *component)
    }
}

/// Compares `now` with the known machines: one, or several if replicas share a
/// database.
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

/// The number of matching components, and the comparison.
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

/// A known machine ranks above a machine that cannot be compared, which ranks above an unknown one.
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
