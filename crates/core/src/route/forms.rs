//! What a service may make of one character outside ASCII.
//!
//! Services normalize Unicode, drop accents, transliterate, look for the best fit in a smaller
//! character set, read the bytes in another character set, or cut characters to their low byte.
//! What one service does with a character says nothing about another character, so a path is
//! compared in every combination of these forms (`route/combinations.rs`). Every character may
//! also be dropped.

use icu_normalizer::DecomposingNormalizerBorrowed as Decomposing;

use super::form_tables::{BEST_FIT, LATIN_1, LETTERS};

/// The forms of a character, except that it may be dropped. The texts are kept in one place so that
/// they can be filled for the next character without an allocation.
#[derive(Default)]
pub(super) struct Forms {
    text: String,
    ends: Vec<usize>,
}

impl Forms {
    /// Replaces the forms with those of another character, in lower case with `ignore_case`.
    pub(super) fn fill(&mut self, c: char, ignore_case: bool) {
        self.text.clear();
        self.ends.clear();
        self.add(ignore_case, |out| out.push(c));
        if !is_stable(c) {
            self.add_decomposed(c, ignore_case);
        }
        if has_letters(c) {
            self.add_letters(c, ignore_case);
        }
        let low = u8::try_from(u32::from(c) & 0xff).unwrap_or_default();
        if low.is_ascii_graphic() || low == b' ' {
            self.add(ignore_case, |out| out.push(char::from(low)));
        }
        let mut bytes = [0; 4];
        let bytes = c.encode_utf8(&mut bytes).as_bytes();
        let letters = |byte: &u8| LATIN_1.get(usize::from(*byte).wrapping_sub(0x80)).copied();
        self.add(ignore_case, |out| {
            out.extend(bytes.iter().filter_map(letters));
        });
        self.add(ignore_case, |out| {
            let single = bytes.iter().filter_map(letters);
            out.extend(single.filter(|it| it.len() == 1));
        });
    }

    fn add_letters(&mut self, c: char, ignore_case: bool) {
        for letter in [c, base_of(c)] {
            let lower = first_lower(letter);
            let Ok(at) = LETTERS.binary_search_by_key(&lower, |(own, _)| *own) else {
                continue;
            };
            for letters in LETTERS[at].1.split(' ') {
                if lower == letter {
                    self.add(ignore_case, |out| out.push_str(letters));
                } else {
                    self.add(ignore_case, |out| out.push_str(&letters.to_uppercase()));
                    self.add(ignore_case, |out| push_capitalized(letters, out));
                }
            }
        }
    }

    fn add_decomposed(&mut self, c: char, ignore_case: bool) {
        let parts = || Decomposing::new_nfkd().normalize_iter(std::iter::once(c));
        self.add(ignore_case, |out| out.extend(parts()));
        self.add(ignore_case, |out| {
            out.extend(parts().filter(char::is_ascii));
        });
        self.add(ignore_case, |out| {
            out.extend(parts().filter(|it| !is_accent(*it)));
        });
        self.add(ignore_case, |out| {
            parts().for_each(|part| push_best_fit(part, out));
        });
    }

    /// Adds a form, unless it is empty or there already is such a form.
    fn add(&mut self, ignore_case: bool, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        write(&mut self.text);
        if ignore_case {
            let lower = self.text[start..].to_lowercase();
            self.text.truncate(start);
            self.text.push_str(&lower);
        }
        let form = &self.text[start..];
        if form.is_empty() || self.iter().any(|other| other == form.as_bytes()) {
            self.text.truncate(start);
        } else {
            self.ends.push(self.text.len());
        }
    }

    /// The bytes of each form.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let form = &self.text.as_bytes()[start..*end];
            start = *end;
            form
        })
    }
}

/// The letters of a literal, decomposed; `None` if it does not change.
pub(super) fn decomposed(literal: &str) -> Option<String> {
    let decomposed = Decomposing::new_nfkd().normalize(literal);
    (decomposed != literal).then(|| decomposed.into_owned())
}

/// The character without its accents.
fn base_of(c: char) -> char {
    let mut parts = Decomposing::new_nfkd().normalize_iter(std::iter::once(c));
    match (parts.next(), parts.all(is_accent)) {
        (Some(base), true) => base,
        _ => c,
    }
}

/// Whether a character is in the scripts of [`LETTERS`].
fn has_letters(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{58f}' | '\u{1d00}'..='\u{1fff}' | '\u{a730}'..='\u{a7ff}')
}

fn first_lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

fn push_capitalized(letters: &str, out: &mut String) {
    let mut chars = letters.chars();
    out.extend(chars.next().map(|first| first.to_ascii_uppercase()));
    out.push_str(chars.as_str());
}

fn push_best_fit(part: char, out: &mut String) {
    match BEST_FIT.binary_search_by_key(&part, |(own, _)| *own) {
        Ok(at) => out.push_str(BEST_FIT[at].1),
        Err(_) if part.is_ascii() => out.push(part),
        Err(_) => {}
    }
}

fn is_accent(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

/// Whether normalization does not turn a character into others: a fast path for the letters of
/// most names. Composed Korean syllables and kana count, because the decomposed form of a route is
/// compared as well.
fn is_stable(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{7f}'
        // Cyrillic, Hebrew, Arabic, Devanagari, Thai.
        | '\u{400}'..='\u{45f}'
        | '\u{5d0}'..='\u{5ea}'
        | '\u{621}'..='\u{64a}'
        | '\u{904}'..='\u{939}'
        | '\u{e01}'..='\u{e30}'
        // Kana, Chinese characters, Korean syllables.
        | '\u{3041}'..='\u{3096}'
        | '\u{30a1}'..='\u{30fa}'
        | '\u{3400}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}'
    )
}

/// Whether a form of a character may contain a character that separates or ends something in a
/// path, a percent sign, a dot or a space.
pub(super) fn may_separate(c: char) -> bool {
    let low = u8::try_from(u32::from(c) & 0xff).unwrap_or_default();
    is_separating(low)
        || matches!(
            c,
            '\u{a0}'..='\u{be}'
                | '\u{13f}'..='\u{140}'
                | '\u{2d8}'..='\u{2dd}'
                | '\u{37a}'..='\u{387}'
                | '\u{1fbd}'..='\u{1fff}'
                | '\u{2000}'..='\u{200a}'
                | '\u{2017}'
                | '\u{2024}'..='\u{2026}'
                | '\u{202f}'
                | '\u{203e}'
                | '\u{2044}'..='\u{205f}'
                | '\u{20a9}'
                | '\u{2100}'..='\u{218b}'
                | '\u{2200}'..='\u{2260}'
                | '\u{2474}'..='\u{24ff}'
                | '\u{2571}'..='\u{2572}'
                | '\u{29f5}'..='\u{29f9}'
                | '\u{3000}'..='\u{3002}'
                | '\u{309b}'..='\u{309c}'
                | '\u{3200}'..='\u{33ff}'
                | '\u{fc00}'..='\u{fdff}'
                | '\u{fe10}'..='\u{fe7f}'
                | '\u{ff03}'
                | '\u{ff05}'
                | '\u{ff0e}'..='\u{ff0f}'
                | '\u{ff1b}'
                | '\u{ff1f}'
                | '\u{ff3c}'
                | '\u{ff61}'
                | '\u{ffe3}'..='\u{ffe6}'
                | '\u{1f100}'..='\u{1f1ff}'
        )
}

/// Whether an ASCII character has a special meaning in a path.
pub(super) fn is_separating(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\' | b';' | b'?' | b'#' | b'%' | b'.' | b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(c: char) -> Vec<String> {
        let mut forms = Forms::default();
        forms.fill(c, false);
        let texts = forms.iter().map(|it| String::from_utf8(it.to_vec()));
        texts.map(Result::unwrap).collect()
    }

    #[test]
    fn what_normalization_and_the_tables_say_is_among_the_forms() {
        for (c, expected) in [
            ('\u{e1}', "a"),
            ('\u{e1}', "a\u{301}"),
            ('\u{161}', "a"),
            ('\u{161}', "s"),
            ('\u{ff41}', "a"),
            ('\u{ff0f}', "/"),
            ('\u{2215}', "/"),
            ('\u{2026}', "..."),
            ('\u{df}', "ss"),
            ('\u{430}', "a"),
            ('\u{440}', "p"),
            ('\u{440}', "r"),
            ('\u{43d}', "n"),
            ('\u{416}', "ZH"),
            ('\u{416}', "Zh"),
            ('\u{3ac}', "a"),
            ('\u{1800}', "a"),
            ('\u{672f}', "/"),
            ('\u{bd}', "1/2"),
        ] {
            assert!(forms(c).contains(&expected.to_owned()), "{c:?}: {expected}");
        }
        assert!(LETTERS.iter().all(|(c, _)| has_letters(*c)));
    }

    #[test]
    fn a_stable_character_has_no_other_compatibility_form() {
        for c in ('\0'..=char::MAX).filter(|c| is_stable(*c)) {
            let alone = c.to_string();
            let composed = icu_normalizer::ComposingNormalizerBorrowed::new_nfkc();
            assert_eq!(composed.normalize(&alone), alone, "{c:?}");
        }
        assert!(BEST_FIT.is_sorted_by_key(|(c, _)| *c));
        assert!(LETTERS.is_sorted_by_key(|(c, _)| *c));
    }

    #[test]
    fn a_character_with_a_form_that_separates_is_known_to_have_one() {
        let mut all = Forms::default();
        for c in ('\u{80}'..=char::MAX).filter(|c| !may_separate(*c)) {
            all.fill(c, false);
            let found = all.iter().flatten().find(|byte| is_separating(**byte));
            assert_eq!(found, None, "{:x}: {:?}", u32::from(c), forms(c));
        }
    }
}
