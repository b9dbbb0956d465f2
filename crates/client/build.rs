//! Builds the vendor's public keys in, when `LICENSE_EMBEDDED_KEYS` names the
//! file that `license-server keys export` has written.

use std::time::{SystemTime, UNIX_EPOCH};

/// How long after the build licenses of version 1.0.0 are adopted, unless
/// `LICENSE_ADOPTION_DAYS` says otherwise.
const ADOPTION_DAYS: u64 = 365;

#[expect(
    clippy::disallowed_methods,
    reason = "a build has its settings and its date from its environment"
)]
fn main() {
    let variable = |name: &str| {
        println!("cargo::rerun-if-env-changed={name}");
        std::env::var(name).ok().filter(|value| !value.is_empty())
    };
    let days = variable("LICENSE_ADOPTION_DAYS");
    let date = variable("SOURCE_DATE_EPOCH");
    let Some(file) = variable("LICENSE_EMBEDDED_KEYS") else {
        return;
    };
    println!("cargo::rerun-if-changed={file}");
    let keys = match std::fs::read_to_string(&file) {
        // A JSON text may be written on one line, and has to be here.
        Ok(keys) => keys.replace(['\n', '\r'], " "),
        Err(error) => {
            println!("cargo::error=LICENSE_EMBEDDED_KEYS: '{file}' cannot be read: {error}");
            return;
        }
    };
    let number = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok());
    let built = number(date).unwrap_or_else(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    });
    let ends = built + number(days).unwrap_or(ADOPTION_DAYS) * 86_400;
    println!("cargo::rustc-env=EMBEDDED_KEYS={keys}");
    println!("cargo::rustc-env=EMBEDDED_ADOPTION_ENDS={ends}");
}
