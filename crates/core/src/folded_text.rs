//! Texts as a search compares them: regardless of case and of how characters are composed.

use icu_normalizer::ComposingNormalizerBorrowed as Composing;

/// A text in NFKC and without case: `MÜLLER`, `müller` and the same with separate accents are
/// equal, and so are `Straße`, `STRAẞE` and `STRASSE`. Each character is folded alone, so that a part
/// of a text folds to a part of the folded text, unless it ends within a composed character. A
/// character becomes at most 18 characters, and those
/// at most three each.
#[must_use]
pub fn folded(text: &str) -> String {
    const NFKC: Composing<'static> = Composing::new_nfkc();
    // There is one capital sigma and two small ones, and a capital sharp s that is the capital of
    // none.
    let normalized = NFKC.normalize(text);
    let first = normalized.chars().flat_map(char::to_lowercase);
    let capitals = first.flat_map(char::to_uppercase);
    let small: String = capitals.flat_map(char::to_lowercase).collect();
    NFKC.normalize(&small).into_owned()
}
