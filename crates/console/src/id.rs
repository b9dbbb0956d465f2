//! Shortens long ids for display.

/// The length of a masked license key, which is not shortened.
const MAX_CHARS: usize = 26;

/// The beginning of an id, or the whole id if it is short.
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
    fn only_long_ids_are_cut_and_never_within_a_character() {
        assert_eq!(
            short("FXSGHT-****-****-****-2222"),
            "FXSGHT-****-****-****-2222"
        );
        assert_eq!(short(&"é".repeat(30)), format!("{}…", "é".repeat(26)));
    }
}
