//! The decoded bytes of a path after several rounds of unescaping, and the places where services
//! may disagree about them.

use std::ops::Range;

use super::path_error::{MAX_AMBIGUOUS_PLACES, MAX_SEGMENTS, PathError};

/// How many levels of nested escapes are decoded before the path is refused.
pub(super) const MAX_ROUNDS: u8 = 4;
/// Marks the origin of a byte whose meaning depends on the service: one that is not UTF-8, or a
/// percent sign that starts no escape.
const UNKNOWN: u8 = 0x80;

/// A path after some rounds of decoding its escapes.
#[derive(Clone)]
pub(super) struct Text {
    bytes: Vec<u8>,
    /// For each byte, the round that produced it: 0 for a raw one, and [`UNKNOWN`].
    origins: Vec<u8>,
}

/// A place where a path ends a segment, or may be read differently.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
    /// The round of unescaping that produced it; 0 for a raw one.
    pub(super) origin: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Slash,
    Backslash,
    /// A semicolon.
    Parameter,
    /// An escaped question mark or `#`.
    Query,
    Unknown,
}

impl Text {
    /// The raw bytes of a request.
    pub(super) fn raw(path: &[u8]) -> Self {
        let mut text = Self {
            bytes: path.to_vec(),
            origins: vec![0; path.len()],
        };
        if path.contains(&b'%') {
            for (at, byte) in path.iter().enumerate() {
                if *byte == b'%' && text.escape_at(at).is_none() {
                    text.origins[at] = UNKNOWN;
                }
            }
        }
        text.find_unknown();
        text
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The round of unescaping that produced a byte; 0 for a raw one.
    pub(super) fn round(&self, at: usize) -> u8 {
        self.origins[at] & !UNKNOWN
    }

    /// Whether the meaning of a byte depends on the service.
    pub(super) fn is_unknown(&self, at: usize) -> bool {
        self.origins[at] & UNKNOWN != 0
    }

    /// Whether the bytes are the same as those of another text.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }

    /// The latest round that produced any of these bytes.
    pub(super) fn origin(&self, start: usize, end: usize) -> u8 {
        let origins = self.origins[start..end].iter();
        origins.map(|it| it & !UNKNOWN).max().unwrap_or_default()
    }

    /// Whether the meaning of any byte depends on the service.
    pub(super) fn has_unknown(&self) -> bool {
        // Without an early end, the compiler makes this a few instructions for many bytes.
        self.origins.iter().fold(0, |all, origin| all | origin) & UNKNOWN != 0
    }

    /// Decodes the escapes once more; `None` if there are no escapes.
    pub(super) fn unescaped(&self, round: u8) -> Option<Self> {
        if !self.bytes.contains(&b'%') {
            return None;
        }
        let first = (0..self.bytes.len()).find(|at| self.escape_at(*at).is_some())?;
        let mut next = Self::with_capacity(self.bytes.len());
        next.extend_from(self, 0..first);
        let mut at = first;
        while at < self.bytes.len() {
            match self.escape_at(at) {
                Some(byte) => {
                    next.push(byte, round);
                    at += 3;
                }
                None => {
                    next.push(self.bytes[at], self.origins[at]);
                    at += 1;
                }
            }
        }
        next.find_unknown();
        Some(next)
    }

    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            origins: Vec::with_capacity(bytes),
        }
    }

    /// Adds a part of another text.
    pub(super) fn extend_from(&mut self, other: &Self, range: Range<usize>) {
        self.bytes.extend_from_slice(&other.bytes[range.clone()]);
        self.origins.extend_from_slice(&other.origins[range]);
    }

    /// Adds bytes that the same round of unescaping produced.
    fn extend(&mut self, bytes: impl Iterator<Item = u8>, origin: u8) {
        self.bytes.extend(bytes);
        self.origins.resize(self.bytes.len(), origin);
    }

    fn push(&mut self, byte: u8, origin: u8) {
        self.bytes.push(byte);
        self.origins.push(origin);
    }

    fn escape_at(&self, at: usize) -> Option<u8> {
        let [b'%', high, low, ..] = self.bytes[at..] else {
            return None;
        };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        u8::try_from(digit(high)? * 16 + digit(low)?).ok()
    }

    fn find_unknown(&mut self) {
        if self.bytes.is_ascii() {
            return;
        }
        let mut at = 0;
        for chunk in self.bytes.utf8_chunks() {
            at += chunk.valid().len();
            for origin in &mut self.origins[at..at + chunk.invalid().len()] {
                *origin |= UNKNOWN;
            }
            at += chunk.invalid().len();
        }
    }

    /// Whether the text may contain an escape `%uXXXX`.
    pub(super) fn has_utf_16(&self) -> bool {
        let mut pairs = self.bytes.windows(2);
        self.bytes.contains(&b'%') && pairs.any(|pair| matches!(pair, b"%u" | b"%U"))
    }

    /// The text as read by a decoder that accepts `%uXXXX`, and overlong UTF-8 of ASCII characters;
    /// `None` if the text contains neither.
    pub(super) fn read_leniently(&self) -> Option<Self> {
        let mut next = Self::with_capacity(self.bytes.len());
        let mut at = 0;
        while at < self.bytes.len() {
            // A percent sign that was itself escaped may also begin `%uXXXX`.
            let is_odd = self.origins[at] & UNKNOWN != 0 || self.bytes[at] == b'%';
            let read = is_odd.then(|| lenient(&self.bytes[at..]));
            match read.flatten() {
                Some((c, length)) => {
                    let origin = self.origin(at, at + length).max(1);
                    next.extend(c.encode_utf8(&mut [0; 4]).bytes(), origin);
                    at += length;
                }
                None => {
                    next.push(self.bytes[at], self.origins[at]);
                    at += 1;
                }
            }
        }
        (next.bytes.len() < self.bytes.len()).then_some(next)
    }

    /// The text as read by a decoder that drops what it does not understand: bytes that are not
    /// UTF-8, and optionally percent signs.
    pub(super) fn without_unknown(&self, percent_signs: bool) -> Self {
        self.only(|byte, origin| origin & UNKNOWN == 0 || byte == b'%' && !percent_signs)
    }

    fn only(&self, is_kept: impl Fn(u8, u8) -> bool) -> Self {
        let mut next = Self::with_capacity(self.bytes.len());
        for (byte, origin) in self.bytes.iter().zip(&self.origins) {
            if is_kept(*byte, *origin) {
                next.push(*byte, *origin);
            }
        }
        next
    }

    /// Refuses control characters.
    pub(super) fn check(&self) -> Result<(), PathError> {
        if has_ascii_control(&self.bytes) {
            return Err(PathError::ControlCharacter);
        }
        // U+0080 to U+009F.
        let is_control = |at: usize| {
            matches!(self.bytes[at..], [0xc2, 0x80..=0x9f, ..]) && self.origins[at] & UNKNOWN == 0
        };
        match self.bytes.contains(&0xc2) && (0..self.bytes.len()).any(is_control) {
            true => Err(PathError::ControlCharacter),
            false => Ok(()),
        }
    }

    /// All bytes that end a segment or may be read differently, in order. The first is the slash at
    /// the beginning.
    pub(super) fn marks(&self) -> Result<Vec<Mark>, PathError> {
        let mut marks: Vec<Mark> = Vec::new();
        let (mut separators, mut odd) = (0, 0);
        for (at, (byte, origin)) in self.bytes.iter().zip(&self.origins).enumerate() {
            let kind = match byte {
                b'/' => Kind::Slash,
                b'\\' => Kind::Backslash,
                b';' => Kind::Parameter,
                b'?' | b'#' => Kind::Query,
                _ if origin & UNKNOWN != 0 => Kind::Unknown,
                _ => continue,
            };
            let mut end = at + 1;
            if kind == Kind::Unknown {
                // Decoders may treat up to two characters as digits.
                if *byte == b'%' {
                    end = at + 3;
                }
                if let Some(last) = marks.last_mut()
                    && last.kind == Kind::Unknown
                    && last.end >= at
                {
                    last.end = last.end.max(end);
                    continue;
                }
            }
            if matches!(kind, Kind::Slash | Kind::Backslash) {
                separators += 1;
            }
            if kind != Kind::Slash || *origin > 0 {
                odd += 1;
            }
            if separators > MAX_SEGMENTS {
                return Err(PathError::TooManySegments);
            }
            if odd > MAX_AMBIGUOUS_PLACES {
                return Err(PathError::TooAmbiguous);
            }
            marks.push(Mark {
                kind,
                start: at,
                end,
                origin: origin & !UNKNOWN,
            });
        }
        Ok(marks)
    }
}

/// Whether any byte is an ASCII control character. All bytes are examined, which takes less
/// time than stopping at the first.
pub(super) fn has_ascii_control(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .fold(false, |found, byte| found | byte.is_ascii_control())
}

/// The character that lenient decoders see at the beginning, and the number of its bytes. Overlong
/// forms of ASCII only: RFC 3629, section 3.
fn lenient(bytes: &[u8]) -> Option<(char, usize)> {
    let (code, length) = match *bytes {
        [lead @ 0xc0..=0xc1, last @ 0x80..=0xbf, ..] => (overlong(lead, last), 2),
        [0xe0, lead @ 0x80..=0x81, last @ 0x80..=0xbf, ..] => (overlong(lead, last), 3),
        [0xf0, 0x80, lead @ 0x80..=0x81, last @ 0x80..=0xbf, ..] => (overlong(lead, last), 4),
        // Forms of RFC 2279, section 2, which RFC 3629 has removed.
        [0xf8, 0x80, 0x80, lead @ 0x80..=0x81, last @ 0x80..=0xbf, ..] => (overlong(lead, last), 5),
        [
            0xfc,
            0x80,
            0x80,
            0x80,
            lead @ 0x80..=0x81,
            last @ 0x80..=0xbf,
            ..,
        ] => (overlong(lead, last), 6),
        _ => {
            let first = unit(bytes)?;
            let pair = [Some(first), bytes.get(UNIT_BYTES..).and_then(unit)];
            let whole = char::decode_utf16(pair.into_iter().flatten()).next()?;
            let c = whole.ok()?;
            return Some((c, UNIT_BYTES * c.len_utf16()));
        }
    };
    Some((char::from_u32(code)?, length))
}

/// The code of an ASCII character whose overlong form ends with these bytes.
fn overlong(lead: u8, last: u8) -> u32 {
    u32::from(lead & 1) << 6 | u32::from(last & 0x3f)
}

/// Bytes of an escape `%uXXXX`.
const UNIT_BYTES: usize = 6;

/// The UTF-16 code unit of an escape `%uXXXX` at the beginning.
fn unit(bytes: &[u8]) -> Option<u16> {
    let [b'%', b'u' | b'U', digits @ ..] = bytes else {
        return None;
    };
    let digits = digits.get(..4)?.iter();
    let mut digits = digits.map(|byte| char::from(*byte).to_digit(16));
    let code = digits.try_fold(0, |code, digit| Some(code * 16 + digit?))?;
    u16::try_from(code).ok()
}
