//! Texts as a search compares them: regardless of case and of how characters are composed.

use icu_normalizer::ComposingNormalizerBorrowed as Composing;

/// A text in NFKC and without case: `MÜLLER`, `müller` and the same with separate accents are
/// equal, and so are `Straße` and `STRASSE`. Each character is folded alone, so that a part of a
/// text folds to a part of the folded text. A character becomes at most 18 characters, and those
/// at most three each.
#[must_use]
pub fn folded(text: &str) -> String {
    const NFKC: Composing<'static> = Composing::new_nfkc();
    // Capitals first: there is one capital sigma, and two small ones.
    let normalized = NFKC.normalize(text);
    let capitals = normalized.chars().flat_map(char::to_uppercase);
    let small: String = capitals.flat_map(char::to_lowercase).collect();
    NFKC.normalize(&small).into_owned()
}
