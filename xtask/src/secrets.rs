//! Searches the logs of a test run for secrets.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

/// Tokens and passwords used by tests.
const KNOWN: [&str; 4] = [
    "hunter2",
    "0123456789abcdef",
    "pa55word-of",
    "a-token-that-nobody",
];
/// The beginning of a license key; four groups of four characters follow.
const PREFIX: &str = "FXSGHT-";

/// Reads every file in `logs` line by line, and fails at the first secret.
pub(crate) fn search(logs: &Path) -> Result<()> {
    let mut lines = 0;
    for entry in fs::read_dir(logs)? {
        let file = entry?.path();
        let text = String::from_utf8_lossy(&fs::read(&file)?).into_owned();
        for line in text.lines() {
            lines += 1;
            if KNOWN.iter().any(|secret| line.contains(secret)) || has_license_key(line) {
                bail!("a secret was logged ({}): {line}", file.display());
            }
        }
    }
    if lines == 0 {
        bail!("the tests did not log anything, so there is nothing to search");
    }
    println!("── no license key, token or password in {lines} lines logged by the tests");
    Ok(())
}

fn has_license_key(line: &str) -> bool {
    line.match_indices(PREFIX).any(|(at, _)| {
        let mut groups = line[at + PREFIX.len()..].split('-');
        (0..4).all(|number| {
            let group = groups.next().unwrap_or_default();
            let group = group.get(..4).filter(|_| number == 3 || group.len() == 4);
            group.is_some_and(|group| group.bytes().all(|b| b.is_ascii_alphanumeric()))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_keys_are_found_and_masked_ones_are_not() {
        assert!(has_license_key("key=FXSGHT-AAAA-BBBB-CCCC-DDDD,"));
        assert!(!has_license_key("key=FXSGHT-****-****-****-DDDD"));
        assert!(!has_license_key("FXSGHT-… FXSGHT-AAAA"));
    }
}
