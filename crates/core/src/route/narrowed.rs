//! Paths as read by services that replace or remove characters of ordinary paths: services that
//! normalize Unicode to its compatibility form, that replace characters missing from their
//! character set with similar ones, or that trim segments.

use icu_normalizer::{
    ComposingNormalizerBorrowed as Composing, DecomposingNormalizerBorrowed as Decomposing,
};

use super::text::Text;

/// Characters that decomposition does not turn into ASCII, and their replacements in services that
/// use the best fit in ASCII: transliteration, and the tables `bestfit*.txt` that Unicode publishes
/// for the character sets of Windows. In Japanese and Korean sets the backslash is a currency sign.
const BEST_FIT: [(char, &str); 51] = [
    ('\u{a5}', "\\"),
    ('\u{ad}', "-"),
    ('\u{b7}', "."),
    ('\u{c6}', "AE"),
    ('\u{d0}', "D"),
    ('\u{d8}', "O"),
    ('\u{de}', "TH"),
    ('\u{df}', "ss"),
    ('\u{e6}', "ae"),
    ('\u{f0}', "d"),
    ('\u{f8}', "o"),
    ('\u{fe}', "th"),
    ('\u{110}', "D"),
    ('\u{111}', "d"),
    ('\u{126}', "H"),
    ('\u{127}', "h"),
    ('\u{131}', "i"),
    ('\u{141}', "L"),
    ('\u{142}', "l"),
    ('\u{152}', "OE"),
    ('\u{153}', "oe"),
    ('\u{166}', "T"),
    ('\u{167}', "t"),
    ('\u{180}', "b"),
    ('\u{191}', "F"),
    ('\u{192}', "f"),
    ('\u{197}', "I"),
    ('\u{19a}', "l"),
    ('\u{1ab}', "t"),
    ('\u{1ae}', "T"),
    ('\u{1b6}', "z"),
    ('\u{1e4}', "G"),
    ('\u{1e5}', "g"),
    ('\u{261}', "g"),
    ('\u{393}', "G"),
    ('\u{3a6}', "F"),
    ('\u{3b1}', "a"),
    ('\u{3b4}', "d"),
    ('\u{3b5}', "e"),
    ('\u{3c0}', "p"),
    ('\u{3c3}', "s"),
    ('\u{3c4}', "t"),
    ('\u{3c6}', "f"),
    ('\u{2010}', "-"),
    ('\u{2044}', "/"),
    ('\u{20a9}', "\\"),
    ('\u{2212}', "-"),
    ('\u{2215}', "/"),
    ('\u{2216}', "\\"),
    ('\u{29f5}', "\\"),
    ('\u{3002}', "."),
];

impl Text {
    /// The number of characters that are expensive to normalize: non-ASCII characters, in parts of
    /// segments that do not consist only of letters that never change.
    pub(super) fn unstable_chars(&self) -> usize {
        if self.bytes().is_ascii() {
            return 0;
        }
        let chunks = self.bytes().utf8_chunks();
        let runs = chunks.flat_map(|chunk| chunk.valid().split(is_run_end));
        let unstable = runs.filter(|run| !run.chars().all(is_stable));
        unstable
            .map(|run| run.chars().filter(|c| !c.is_ascii()).count())
            .sum()
    }

    /// The text in Unicode's compatibility form (NFKC: Unicode Standard Annex 15); `None` if it
    /// does not change. It turns `／` and `ａ` into `/` and `a`.
    pub(super) fn compatible(&self) -> Option<Self> {
        self.with_runs(|run, out| out.push_str(&Composing::new_nfkc().normalize(run)))
    }

    /// The text with each character replaced by its best fit in ASCII; `None` if nothing changes.
    pub(super) fn best_fit(&self) -> Option<Self> {
        self.with_runs(|run, out| run.chars().for_each(|c| push_best_fit(c, out)))
    }

    fn with_runs(&self, change: impl Fn(&str, &mut String)) -> Option<Self> {
        let mut next = Self::with_capacity(self.bytes().len());
        let mut is_changed = false;
        let mut changed = String::new();
        let mut at = 0;
        for chunk in self.bytes().utf8_chunks() {
            for piece in chunk.valid().split_inclusive(is_run_end) {
                let run = piece.strip_suffix(is_run_end).unwrap_or(piece);
                changed.clear();
                if !run.chars().all(is_stable) {
                    change(run, &mut changed);
                }
                if changed.is_empty() || changed == run {
                    next.extend_from(self, at..at + run.len());
                } else {
                    is_changed = true;
                    let origin = self.origin(at, at + run.len()).max(1);
                    next.extend(changed.bytes(), origin);
                }
                next.extend_from(self, at + run.len()..at + piece.len());
                at += piece.len();
            }
            next.extend_from(self, at..at + chunk.invalid().len());
            at += chunk.invalid().len();
        }
        is_changed.then_some(next)
    }

    /// The text without spaces around its segments and, with `dots`, without trailing dots, as
    /// Windows opens files. `None` if it does not change.
    pub(super) fn trimmed(&self, dots: bool) -> Option<Self> {
        let mut next = Self::with_capacity(self.bytes().len());
        let mut start = 0;
        for segment in self.bytes().split_inclusive(is_segment_end) {
            let (segment, end) = match segment {
                [segment @ .., last] if is_segment_end(last) => (segment, 1),
                segment => (segment, 0),
            };
            let leading = segment.iter().take_while(|byte| **byte == b' ').count();
            let mut kept = trimmed_end(&segment[leading..], b" ");
            if dots && !matches!(kept, b"." | b"..") {
                kept = trimmed_end(kept, b" .");
            }
            let first = start + leading;
            next.extend_from(self, first..first + kept.len());
            start += segment.len();
            next.extend_from(self, start..start + end);
            start += end;
        }
        (next.bytes().len() < self.bytes().len()).then_some(next)
    }

    /// Whether a segment begins or ends with a space, or ends with a dot.
    pub(super) fn has_something_to_trim(&self) -> bool {
        if !self.bytes().contains(&b'.') && !self.bytes().contains(&b' ') {
            return false;
        }
        let mut before = b'/';
        let mut bytes = self.bytes().iter().chain(b"/");
        bytes.any(|byte| {
            let is_end = is_segment_end(byte) && matches!(before, b' ' | b'.');
            let is_start = *byte == b' ' && is_segment_end(&before);
            before = *byte;
            is_end || is_start
        })
    }
}

fn is_segment_end(byte: &u8) -> bool {
    matches!(byte, b'/' | b'\\' | b';' | b'?' | b'#')
}

/// The characters at which a text is split into parts that are normalized as a whole. A percent
/// sign may or may not start an escape.
fn is_run_end(c: char) -> bool {
    matches!(c, '/' | '\\' | ';' | '?' | '#' | '%')
}

fn trimmed_end<'a>(mut bytes: &'a [u8], trimmed: &[u8]) -> &'a [u8] {
    while let [rest @ .., last] = bytes
        && trimmed.contains(last)
    {
        bytes = rest;
    }
    bytes
}

/// Whether a character stays unchanged: a fast path for the letters of most names.
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

/// A character's best fit in ASCII, or the character itself. Accents are dropped.
fn push_best_fit(c: char, out: &mut String) {
    if c.is_ascii() {
        out.push(c);
    } else if !is_accent(c) {
        let start = out.len();
        let mut has_fit = false;
        for part in Decomposing::new_nfkd().normalize_iter(std::iter::once(c)) {
            has_fit |= push_part(part, out);
        }
        if !has_fit {
            out.truncate(start);
            out.push(c);
        }
    }
}

/// Adds a part of a decomposition; returns whether it has an ASCII equivalent.
fn push_part(part: char, out: &mut String) -> bool {
    if part.is_ascii() {
        out.push(part);
        return true;
    }
    let found = BEST_FIT.binary_search_by_key(&part, |(own, _)| *own);
    match found {
        Ok(at) => out.push_str(BEST_FIT[at].1),
        Err(_) if is_accent(part) => {}
        Err(_) => out.push(part),
    }
    found.is_ok()
}

fn is_accent(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &str) -> Text {
        Text::raw(bytes.as_bytes())
    }

    fn shown(text: Option<Text>) -> Option<String> {
        text.map(|it| String::from_utf8(it.bytes().to_vec()).unwrap())
    }

    #[test]
    fn a_stable_character_has_no_other_form() {
        for c in ('\0'..=char::MAX).filter(|c| is_stable(*c)) {
            let alone = c.to_string();
            assert_eq!(Composing::new_nfkc().normalize(&alone), alone, "{c:?}");
            let mut fit = String::new();
            push_best_fit(c, &mut fit);
            assert_eq!(fit, alone, "{c:?}");
        }
        assert!(BEST_FIT.is_sorted_by_key(|(c, _)| *c));
    }

    #[test]
    fn characters_are_replaced_by_what_they_are_compatible_with_or_look_like() {
        for (path, compatible, best_fit) in [
            ("/api/map", None, None),
            ("/\u{95e8}/\u{434}\u{43e}\u{43c}", None, None),
            ("/\u{ff41}pi\u{ff0f}map", Some("/api/map"), Some("/api/map")),
            (
                "/\u{ff0e}\u{2024}/\u{2026}",
                Some("/../..."),
                Some("/../..."),
            ),
            ("/a\u{ff3c}b\u{37e}c", Some("/a\\b;c"), Some("/a\\b;c")),
            ("/m\u{101}p", None, Some("/map")),
            ("/ma\u{304}p", Some("/m\u{101}p"), Some("/map")),
            (
                "/a\u{2215}b\u{2216}c\u{a5}d\u{3002}",
                None,
                Some("/a/b\\c\\d."),
            ),
            ("/stra\u{df}e/\u{3c0}", None, Some("/strasse/p")),
            ("/\u{1d4c2}\u{24d0}\u{ff50}", Some("/map"), Some("/map")),
            ("/\u{ff05}2f", Some("/%2f"), Some("/%2f")),
        ] {
            let text = text(path);
            let expected = (compatible.map(str::to_owned), best_fit.map(str::to_owned));
            let found = (shown(text.compatible()), shown(text.best_fit()));
            assert_eq!(found, expected, "{path}");
            assert_eq!(text.unstable_chars() == 0, best_fit.is_none(), "{path}");
        }
    }

    #[test]
    fn segments_are_trimmed_and_dots_alone_stay_dots() {
        for (path, spaces, dots) in [
            ("/a/b", None, None),
            ("/a./.b/..", None, Some("/a/.b/..")),
            ("/ a /b ", Some("/a/b"), Some("/a/b")),
            ("/a. ./b", None, Some("/a/b")),
            ("/.. /. /...", Some("/.././..."), Some("/.././")),
            ("/a .;x/ ;", Some("/a .;x/;"), Some("/a;x/;")),
            ("/. ./x", None, Some("//x")),
            (" ", Some(""), Some("")),
        ] {
            let text = text(path);
            let expected = (spaces.map(str::to_owned), dots.map(str::to_owned));
            let found = (shown(text.trimmed(false)), shown(text.trimmed(true)));
            assert_eq!(found, expected, "{path}");
            let may = text.has_something_to_trim();
            assert!(may || dots.is_none(), "{path}");
        }
    }
}
