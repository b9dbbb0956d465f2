//! The texts that a path may stand for, before they are split into segments.

use super::super::path_error::PathError;
use super::super::text::{MAX_ROUNDS, Mark, Text};
use super::super::tree::Work;

/// All texts that the path may stand for: with its escapes decoded once, twice and so on, without
/// the bytes that services disagree about, and as read by services that trim it.
pub(super) fn texts(
    path: &[u8],
    work: &mut Work,
) -> Result<Vec<(Text, Vec<Mark>, Source)>, PathError> {
    let raw = Text::raw(path);
    let first = raw.unescaped(1).unwrap_or(raw);
    let mut texts = Vec::new();
    let mut waiting = vec![Candidate {
        text: first,
        rounds: 1,
        source: Source::AsSent,
        is_trimmed: false,
    }];
    while let Some(candidate) = waiting.pop() {
        let Candidate {
            text,
            rounds,
            source,
            is_trimmed,
        } = candidate;
        let as_sent = source == Source::AsSent;
        let mut wait = |text, rounds, source, is_trimmed| {
            waiting.push(Candidate {
                text,
                rounds,
                source,
                is_trimmed,
            });
        };
        text.check()?;
        let marks = text.marks()?;
        if as_sent && text.has_unknown() {
            work.spend(4 * text.bytes().len() / BYTES_PER_UNIT)?;
            let mut length = text.bytes().len();
            for percent_signs in [false, true] {
                let without = text.without_unknown(percent_signs);
                if without.bytes().len() < length {
                    length = without.bytes().len();
                    wait(without, rounds, Source::Changed, false);
                }
            }
        }
        if as_sent && (text.has_unknown() || text.has_utf_16()) {
            work.spend(text.bytes().len() / BYTES_PER_UNIT)?;
            if let Some(text) = text.read_leniently() {
                if text.has_unknown() {
                    wait(text.without_unknown(true), rounds, Source::Changed, false);
                }
                wait(text, rounds, Source::Changed, false);
            }
        }
        // The combinations of other characters include those of trimmed segments.
        if !is_trimmed && text.bytes().is_ascii() && text.has_something_to_trim() {
            work.spend(2 * text.bytes().len() / BYTES_PER_UNIT / 4)?;
            let with_dots = text.trimmed(true);
            let spaces = text.trimmed(false);
            let is_other = |it: &Text| with_dots.as_ref().is_none_or(|other| !it.is_same(other));
            let spaces = spaces.filter(is_other);
            for text in spaces.into_iter().chain(with_dots) {
                wait(text, rounds, Source::Narrowed, true);
            }
        }
        if let Some(next) = text.unescaped(rounds + 1) {
            if rounds == MAX_ROUNDS {
                return Err(PathError::EscapedTooOften);
            }
            work.spend(2 * next.bytes().len() / BYTES_PER_UNIT)?;
            wait(next, rounds + 1, source, is_trimmed);
        }
        texts.push((text, marks, source));
    }
    Ok(texts)
}

/// The basis of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// All bytes of the path.
    AsSent,
    /// The path without the bytes that services disagree about, or with lenient decoding of these
    /// bytes.
    Changed,
    /// The path as read by a service that trims segments.
    Narrowed,
}

/// A text of the path that has not been read yet.
struct Candidate {
    text: Text,
    /// How many times escapes have been decoded.
    rounds: u8,
    source: Source,
    /// Its segments have been trimmed.
    is_trimmed: bool,
}

/// The number of bytes of an additional text that are created and searched for one unit of work.
const BYTES_PER_UNIT: usize = 4;
