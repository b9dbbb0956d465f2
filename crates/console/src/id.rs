//! Long ids, as people tell them apart.

/// As long as a masked license key, which stays whole.
const MAX_CHARS: usize = 26;

/// The beginning of an id.
#[must_use]
pub fn short(id: &str) -> String {
    match id.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &id[..end]),
        None => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn only_what_is_long_is_cut_and_never_within_a_letter() {
        assert_eq!(
            short("FXSGHT-****-****-****-2222"),
            "FXSGHT-****-****-****-2222"
        );
        assert_eq!(short(&"é".repeat(30)), format!("{}…", "é".repeat(26)));
    }
}
