//! Whether an error tells a fact several times.

/// Part of a message that is a fact and not just a word.
const MIN_CHARS: usize = 12;

/// A part of the text, between punctuation, that is in it several times.
pub fn repeated_fact(text: &str) -> Option<&str> {
    text.split([':', ';', '\n'])
        .map(str::trim)
        .find(|part| part.len() >= MIN_CHARS && text.matches(part).count() > 1)
}

#[test]
fn a_repeated_fact_is_found() {
    let repeated = "error: pool timed out: query failed: pool timed out";
    assert_eq!(repeated_fact(repeated), Some("pool timed out"));
    assert_eq!(
        repeated_fact("error: cannot connect: connection refused"),
        None
    );
}
