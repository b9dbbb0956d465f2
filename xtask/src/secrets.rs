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
/// The beginning of a named token; 43 characters in base64url follow.
const TOKEN_PREFIX: &str = "fxt_";
/// The beginnings of license keys, add-on keys and trial codes; four groups of four characters
/// follow.
const PREFIXES: [&str; 3] = ["FXSGHT-", "FXSADD-", "FXSTRY-"];

/// Reads every file in `logs` line by line, and fails at the first secret.
pub(crate) fn search(logs: &Path) -> Result<()> {
    let mut lines = 0;
    for entry in fs::read_dir(logs)? {
        let file = entry?.path();
        let text = String::from_utf8_lossy(&fs::read(&file)?).into_owned();
        for line in text.lines() {
            lines += 1;
            let is_known = KNOWN.iter().any(|secret| line.contains(secret));
            if is_known || has_key(line) || has_token(line) {
                bail!("a secret was logged ({}): {line}", file.display());
            }
        }
    }
    if lines == 0 {
        bail!("the tests did not log anything, so there is nothing to search");
    }
    println!("── no key, code, token or password in {lines} lines logged by the tests");
    Ok(())
}

fn has_key(line: &str) -> bool {
    let mut found = PREFIXES
        .iter()
        .flat_map(|prefix| line.match_indices(prefix));
    found.any(|(at, prefix)| {
        let mut groups = line[at + prefix.len()..].split('-');
        (0..4).all(|number| {
            let group = groups.next().unwrap_or_default();
            let group = group.get(..4).filter(|_| number == 3 || group.len() == 4);
            group.is_some_and(|group| group.bytes().all(|b| b.is_ascii_alphanumeric()))
        })
    })
}

fn has_token(line: &str) -> bool {
    line.match_indices(TOKEN_PREFIX).any(|(at, _)| {
        let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        let rest = line.as_bytes().iter().skip(at + TOKEN_PREFIX.len());
        rest.take_while(|byte| is_of_token(byte)).count() >= 43
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_tokens_are_found() {
        let token = format!("fxt_{}", "aB-_0".repeat(9));
        assert!(has_token(&format!("token={token},")));
        assert!(!has_token(&format!("token={},", &token[..40])));
        assert!(!has_token("fxt_…"));
    }

    #[test]
    fn whole_keys_are_found_and_masked_ones_are_not() {
        for key in PREFIXES.map(|prefix| format!("{prefix}AAAA-BBBB-CCCC-DDDD")) {
            assert!(has_key(&format!("key={key},")), "{key}");
        }
        assert!(!has_key("key=FXSGHT-****-****-****-DDDD"));
        assert!(!has_key("FXSGHT-… FXSGHT-AAAA"));
    }
}
