//! Bytes that stand for a character only in some services: escapes with characters in between that
//! a service drops, bytes that are not UTF-8, and overlong forms.

use super::super::forms::Forms;
use super::super::path_error::PathError;
use super::super::text::MAX_ROUNDS;
use super::super::tree::Work;
use super::state::add;
use super::{Combinations, UNITS_PER_CHAR};

/// What an escape stands for, and where it ends.
struct Escape {
    code: u32,
    end: usize,
}

impl Combinations<'_> {
    /// Reads the escapes whose percent sign ends at `start`.
    pub(super) fn step_escapes(&mut self, start: usize, work: &mut Work) -> Result<(), PathError> {
        let mut starts = vec![start];
        for _ in 0..MAX_ROUNDS {
            let mut nested = Vec::new();
            for start in starts {
                for escape in self.escapes(start, work)? {
                    if escape.code == u32::from(b'%') {
                        nested.push(escape.end);
                    }
                    self.step_code(&escape, work)?;
                }
            }
            starts = nested;
        }
        match starts.is_empty() {
            true => Ok(()),
            false => Err(PathError::EscapedTooOften),
        }
    }

    /// Reads a character that several bytes may stand for.
    fn step_code(&mut self, escape: &Escape, work: &mut Work) -> Result<(), PathError> {
        let Some(c) = char::from_u32(escape.code).filter(|c| !c.is_control()) else {
            return Ok(());
        };
        let mut forms = Forms::default();
        work.spend(UNITS_PER_CHAR)?;
        forms.fill(c, self.steps.tree.ignores_case());
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for form in forms.iter() {
            before.clone_from(&self.states);
            for byte in form {
                after.clear();
                for state in &before {
                    self.steps.byte(*state, *byte, true, &mut after, work)?;
                }
                std::mem::swap(&mut before, &mut after);
            }
            work.spend(2 * before.len())?;
            self.later
                .extend(before.iter().map(|state| (escape.end, *state)));
        }
        if !c.is_ascii() {
            // Part of a character of several bytes, or dropped.
            self.step_characters(escape.end, 1, work)?;
        }
        Ok(())
    }

    /// Reads a percent sign that starts no escape.
    pub(super) fn step_percent_sign(
        &mut self,
        at: usize,
        work: &mut Work,
    ) -> Result<(), PathError> {
        // Decoders may treat up to two characters as digits.
        for length in 1..=3 {
            let end = at + length;
            let passed = self.text.bytes().get(at..end);
            if passed.is_some_and(|passed| !passed.contains(&b'/')) {
                self.step_characters(end, length, work)?;
            }
        }
        Ok(())
    }

    /// Reads bytes that are not UTF-8, and returns where they end.
    pub(super) fn step_unknown(&mut self, at: usize, work: &mut Work) -> Result<usize, PathError> {
        if let Some(escape) = self.overlong(at) {
            self.step_code(&escape, work)?;
        }
        let bytes = self.text.bytes();
        let mut end = at + 1;
        while bytes.get(end).is_some_and(|byte| !byte.is_ascii())
            && self.text.is_unknown(end)
            && self.overlong(end).is_none()
        {
            end += 1;
        }
        self.step_characters(end, end - at, work)?;
        Ok(end)
    }

    /// The character that a decoder sees which does not check the bytes after the first one, if
    /// they are in ASCII or the character is. Others are among those that are tried for bytes that
    /// are not UTF-8.
    fn overlong(&self, at: usize) -> Option<Escape> {
        let (code, length) = overlong(&self.text.bytes()[at..])?;
        let end = at + length;
        let is_pair =
            matches!(self.text.bytes()[at + 1..end], [last] if last.is_ascii() && last != b'/');
        (code < 0x80 || is_pair).then_some(Escape { code, end })
    }

    /// Reads bytes in place of which a service sees up to two characters each.
    fn step_characters(
        &mut self,
        end: usize,
        bytes: usize,
        work: &mut Work,
    ) -> Result<(), PathError> {
        let mut found = self.states.clone();
        let mut new = 0;
        for _ in 0..2 * bytes {
            let states = found.split_off(new);
            let mut next = Vec::new();
            for state in &states {
                self.steps.any_character(*state, &mut next, work)?;
            }
            found.extend(states);
            new = found.len();
            for state in next {
                add(&mut found, state, work)?;
            }
        }
        work.spend(found.len())?;
        self.later
            .extend(found.into_iter().map(|state| (end, state)));
        Ok(())
    }

    /// The escapes after a percent sign: two digits, or `u` and four, with characters in between
    /// that may be dropped.
    fn escapes(&self, start: usize, work: &mut Work) -> Result<Vec<Escape>, PathError> {
        let is_u = |byte: u8| matches!(byte, b'u' | b'U').then_some(0);
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let none = |end| vec![Escape { code: 0, end }];
        let mut found = self.digits(none(start), 2, digit, work)?;
        let long = self.digits(none(start), 1, is_u, work)?;
        if !long.is_empty() {
            found.extend(self.digits(long, 4, digit, work)?);
        }
        Ok(found)
    }

    fn digits(
        &self,
        mut found: Vec<Escape>,
        count: usize,
        value: impl Fn(u8) -> Option<u32>,
        work: &mut Work,
    ) -> Result<Vec<Escape>, PathError> {
        for _ in 0..count {
            let mut next = Vec::new();
            for Escape { code, end } in found {
                self.digit(end, &value, work, |digit, end| {
                    let code = code * 16 + digit;
                    next.push(Escape { code, end });
                })?;
            }
            found = next;
        }
        Ok(found)
    }

    /// The digits that may come next, and where they end.
    fn digit(
        &self,
        mut at: usize,
        value: impl Fn(u8) -> Option<u32>,
        work: &mut Work,
        mut each: impl FnMut(u32, usize),
    ) -> Result<(), PathError> {
        let mut forms = Forms::default();
        while let Some(c) = self.character(at) {
            work.spend(UNITS_PER_CHAR)?;
            forms.fill(c, false);
            at += c.len_utf8();
            for form in forms.iter() {
                if let [byte] = form
                    && let Some(digit) = value(*byte)
                {
                    work.spend(1)?;
                    each(digit, at);
                }
            }
        }
        let byte = self.text.bytes().get(at).copied();
        if let Some(digit) = byte.filter(u8::is_ascii).and_then(value) {
            each(digit, at + 1);
        }
        Ok(())
    }
}

/// The character that a decoder sees which does not check the bytes after the first one, and the
/// number of its bytes.
fn overlong(bytes: &[u8]) -> Option<(u32, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (start, more) = match first {
        0xc0..=0xdf => (first & 0x1f, 1),
        0xe0..=0xef => (first & 0x0f, 2),
        0xf0..=0xf7 => (first & 0x07, 3),
        0xf8..=0xfb => (first & 0x03, 4),
        0xfc..=0xfd => (first & 0x01, 5),
        _ => return None,
    };
    let rest = rest.get(..more)?;
    let add = |code: u32, byte: &u8| code << 6 | u32::from(byte & 0x3f);
    let code = rest.iter().fold(u32::from(start), add);
    Some((code, more + 1))
}
