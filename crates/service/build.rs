//! Notes the date of the build, before which the program cannot run.

use std::time::{SystemTime, UNIX_EPOCH};

#[expect(
    clippy::disallowed_methods,
    reason = "the date of the build is not the program's time"
)]
fn main() {
    // Builds that are to be the same whenever they are made say their date
    // (https://reproducible-builds.org/specs/source-date-epoch/).
    let said = std::env::var("SOURCE_DATE_EPOCH");
    let seconds = said.ok().and_then(|text| text.parse().ok());
    let seconds: u64 = seconds.unwrap_or_else(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    });
    println!("cargo::rustc-env=BUILD_DATE={seconds}");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
}
