//! The routes that a path with characters outside ASCII may match, whatever a service makes of
//! each of these characters.
//!
//! Every such character may be dropped, or replaced by one of its forms (`route/forms.rs`), and no
//! service has to treat two characters alike. The text is therefore read one time, in all
//! combinations: after each character, there is a set of states of the walk through the tree. What
//! else services disagree about (`route/readings.rs`) is combined with it in the same way: escaped
//! separators, dots, parameters, queries, hosts, empty segments, and spaces and dots at the ends of
//! segments.

mod escapes;
mod state;

use self::state::{Agreement, State, Steps, add};
use super::forms::{Forms, is_separating, may_separate};
use super::path_error::PathError;
use super::text::Text;
use super::tree::{Match, Tree, Work};

/// Units of [`Work`] for finding the forms of a character.
const UNITS_PER_CHAR: usize = 24;
/// The number of bytes that are skipped for one unit of work.
const BYTES_PER_UNIT: usize = 16;
/// The maximum length of a segment about which services are known to agree.
const MAX_AGREED_BYTES: usize = 256;

/// The routes that the text may match. A match is certain if every service agrees with it.
///
/// # Errors
/// [`PathError::TooAmbiguous`] if there is not enough work left.
pub(super) fn combinations(
    text: &Text,
    tree: &Tree,
    work: &mut Work,
) -> Result<Vec<Match>, PathError> {
    let mut combinations = Combinations {
        text,
        steps: Steps::new(tree),
        states: Vec::new(),
        next: Vec::new(),
        later: Vec::new(),
        forms: Forms::default(),
        segment: 1,
        trailing: Trailing::default(),
    };
    combinations.states.push(combinations.steps.start());
    combinations.read(work)
}

struct Combinations<'a> {
    text: &'a Text,
    steps: Steps<'a>,
    /// The states before the next byte.
    states: Vec<State>,
    /// The states after it.
    next: Vec<State>,
    /// States after several bytes that may stand for one character, and where they end.
    later: Vec<(usize, State)>,
    forms: Forms,
    /// Where the segment begins in every reading.
    segment: usize,
    trailing: Trailing,
}

/// Whether spaces and dots in a part of the text are at the end of a segment.
#[derive(Default)]
struct Trailing {
    start: usize,
    end: usize,
    is_trailing: bool,
}

impl Combinations<'_> {
    fn read(mut self, work: &mut Work) -> Result<Vec<Match>, PathError> {
        let end = self.text.bytes().len();
        let mut at = 1;
        while at < end {
            self.resume(at, work)?;
            at = self.skip(at, work)?;
            if at == end {
                break;
            }
            self.resume(at, work)?;
            self.next.clear();
            let after = self.step(at, work)?;
            std::mem::swap(&mut self.states, &mut self.next);
            at = after;
        }
        self.resume(end, work)?;
        let agreement = self.agreement(end, work)?;
        self.end_segments(agreement, work)?;
        self.steps.matches(&self.next, work)
    }

    /// Adds the states that continue here, or within the character that ends here.
    fn resume(&mut self, at: usize, work: &mut Work) -> Result<(), PathError> {
        let mut number = 0;
        while let Some((place, state)) = self.later.get(number).copied() {
            work.spend(1)?;
            if place > at {
                number += 1;
                continue;
            }
            self.later.swap_remove(number);
            add(&mut self.states, state, work)?;
        }
        Ok(())
    }

    /// Skips what makes no difference.
    fn skip(&self, at: usize, work: &mut Work) -> Result<usize, PathError> {
        let limit = self.later.iter().map(|(place, _)| *place).min();
        let limit = limit.unwrap_or(usize::MAX).min(self.text.bytes().len());
        if !self.states.iter().all(State::waits_for_end) {
            return Ok(at);
        }
        let mut next = at;
        while next < limit {
            let byte = self.text.bytes()[next];
            let is_plain = byte.is_ascii() && (!is_separating(byte) || matches!(byte, b'.' | b' '));
            next += match self.inert(next) {
                Some(length) => length,
                None if is_plain && !self.text.is_unknown(next) => 1,
                None => break,
            };
        }
        let next = next.min(limit);
        work.spend((next - at) / BYTES_PER_UNIT)?;
        Ok(next)
    }

    /// The number of bytes of a character outside ASCII none of whose forms separates anything.
    fn inert(&self, at: usize) -> Option<usize> {
        let c = self.character(at)?;
        (!may_separate(c)).then_some(c.len_utf8())
    }

    /// The character outside ASCII at a place; `None` if there is none, or its bytes are not UTF-8.
    fn character(&self, at: usize) -> Option<char> {
        let bytes = self.text.bytes();
        let first = *bytes.get(at)?;
        if first.is_ascii() || self.text.is_unknown(at) {
            return None;
        }
        // The rest of a character has six bits in each byte.
        let length = first.leading_ones();
        let rest = bytes.get(at + 1..at + length as usize)?;
        let add = |code: u32, byte: &u8| code << 6 | u32::from(byte & 0x3f);
        let start = u32::from(first & (0x7f >> length));
        char::from_u32(rest.iter().fold(start, add))
    }

    /// Reads what is at a place in each way, and returns where it ends.
    fn step(&mut self, at: usize, work: &mut Work) -> Result<usize, PathError> {
        let byte = self.text.bytes()[at];
        if let Some(c) = self.character(at) {
            return self.step_character(at, c, work);
        }
        if byte == b'/' && self.text.round(at) == 0 {
            let agreement = self.agreement(at, work)?;
            self.end_segments(agreement, work)?;
            self.segment = at + 1;
            return Ok(at + 1);
        }
        if self.text.is_unknown(at) {
            if byte != b'%' {
                return self.step_unknown(at, work);
            }
            self.step_percent_sign(at, work)?;
        }
        if byte.is_ascii() {
            let is_trailing = self.is_trailing(at, work)?;
            for state in &self.states {
                let byte = match self.steps.tree.ignores_case() {
                    true => byte.to_ascii_lowercase(),
                    false => byte,
                };
                self.steps
                    .byte(*state, byte, is_trailing, &mut self.next, work)?;
            }
        }
        if byte == b'%' {
            self.step_escapes(at + 1, work)?;
        }
        Ok(at + 1)
    }

    fn step_character(&mut self, at: usize, c: char, work: &mut Work) -> Result<usize, PathError> {
        let end = at + c.len_utf8();
        for state in &self.states {
            add(&mut self.next, *state, work)?;
        }
        if self.states.iter().all(State::is_decided) && !may_separate(c) {
            return self.step_inert(end, work);
        }
        work.spend(UNITS_PER_CHAR)?;
        self.forms.fill(c, self.steps.tree.ignores_case());
        let is_trailing = self.is_trailing(at, work)?;
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut has_percent_sign = false;
        for form in self.forms.iter() {
            has_percent_sign |= form == b"%";
            let may_separate = form.iter().any(|byte| is_separating(*byte));
            before.clone_from(&self.states);
            if !may_separate {
                before.retain(|state| !state.waits_for_end());
            }
            for byte in form {
                after.clear();
                for state in &before {
                    self.steps
                        .byte(*state, *byte, is_trailing, &mut after, work)?;
                }
                std::mem::swap(&mut before, &mut after);
            }
            for state in &before {
                add(&mut self.next, *state, work)?;
            }
        }
        if has_percent_sign {
            self.step_escapes(end, work)?;
        }
        Ok(end)
    }

    /// Reads characters of which it matters only that there are any, and returns where they end.
    fn step_inert(&mut self, mut at: usize, work: &mut Work) -> Result<usize, PathError> {
        for state in self.states.iter().filter_map(|it| it.after_others()) {
            add(&mut self.next, state, work)?;
        }
        let limit = self.later.iter().map(|(place, _)| *place).min();
        let start = at;
        while limit.is_none_or(|limit| at < limit)
            && let Some(length) = self.inert(at)
        {
            at += length;
        }
        work.spend((at - start) / BYTES_PER_UNIT)?;
        Ok(at)
    }

    fn end_segments(&mut self, agreement: Agreement, work: &mut Work) -> Result<(), PathError> {
        self.next.clear();
        for state in &self.states {
            self.steps.end(*state, agreement, &mut self.next, work)?;
        }
        self.steps.is_exact &= agreement != Agreement::Nothing;
        Ok(())
    }

    /// What every service agrees about in the segment that ends here.
    fn agreement(&self, end: usize, work: &mut Work) -> Result<Agreement, PathError> {
        if !self.steps.is_exact || end - self.segment > MAX_AGREED_BYTES {
            return Ok(Agreement::Nothing);
        }
        let bytes = &self.text.bytes()[self.segment..end];
        work.spend(bytes.len() / BYTES_PER_UNIT)?;
        let is_inner = |byte: Option<&u8>| byte.is_some_and(|it| !matches!(it, b'.' | b' '));
        if !is_inner(bytes.first()) || !is_inner(bytes.last()) {
            return Ok(Agreement::Nothing);
        }
        let mut has_letter = false;
        let mut at = self.segment;
        while at < end {
            let byte = self.text.bytes()[at];
            let is_letter = byte.is_ascii() && !is_separating(byte);
            has_letter |= is_letter;
            at += match self.inert(at) {
                Some(length) => length,
                None if is_letter || matches!(byte, b'.' | b' ') => 1,
                None => return Ok(Agreement::Nothing),
            };
        }
        Ok(match (has_letter, bytes.is_ascii()) {
            (false, _) => Agreement::Nothing,
            (true, false) => Agreement::Segment,
            (true, true) => Agreement::Text,
        })
    }

    /// Whether a space or dot may be at the end of a segment.
    fn is_trailing(&mut self, at: usize, work: &mut Work) -> Result<bool, PathError> {
        let known = &self.trailing;
        if (known.start..known.end).contains(&at) {
            return Ok(known.is_trailing);
        }
        let bytes = self.text.bytes();
        let mut end = at;
        let is_trailing = loop {
            match bytes.get(end) {
                None => break true,
                Some(b'.' | b' ') => end += 1,
                Some(byte) if is_separating(*byte) => break true,
                Some(byte) if byte.is_ascii() => break false,
                Some(_) => match self.character(end) {
                    Some(c) if end > at && may_separate(c) => break true,
                    Some(c) => end += c.len_utf8(),
                    None => end += 1,
                },
            }
        };
        work.spend((end - at) / BYTES_PER_UNIT)?;
        self.trailing = Trailing {
            start: at,
            end: end.max(at + 1),
            is_trailing,
        };
        Ok(is_trailing)
    }
}
