//! Texts in the form in which searches compare them: regardless of case and of how characters are
//! composed.

use icu_normalizer::ComposingNormalizerBorrowed as Composing;

/// A text in NFKC with case removed: `MÜLLER`, `müller` and the same with separate accents are
/// equal, and so are `Straße`, `STRAẞE` and `STRASSE`. Each character is folded alone, so that a
/// part of a text folds to a part of the folded text, unless it ends within a composed character. A
/// character becomes at most 18 characters, and each of these at most three.
#[must_use]
pub fn folded(text: &str) -> String {
    const NFKC: Composing<'static> = Composing::new_nfkc();
    // There are two lower-case sigmas for one capital, and a capital sharp s to which no lower-case
    // letter maps.
    let normalized = NFKC.normalize(text);
    let first = normalized.chars().flat_map(char::to_lowercase);
    let capitals = first.flat_map(char::to_uppercase);
    let small: String = capitals.flat_map(char::to_lowercase).collect();
    NFKC.normalize(&small).into_owned()
}
