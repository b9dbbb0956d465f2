//! A slow and simple reader of paths, which the tests compare with ours: 768
//! full readings of the whole path, and a table that is read line by line.

use unicode_normalization::UnicodeNormalization as _;

/// What a reader finds that cannot make sense of a path.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable;

/// A route: a pattern such as `/a/*/b/**`, and what it requires.
pub type Line<'a> = (&'a str, Option<&'a str>);

/// What each reading of a path needs by the first line that matches it, and whether it
/// is narrowed: everything but ASCII is left out, characters are replaced, or segments
/// are trimmed.
pub fn needs<'a>(
    lines: &[Line<'a>],
    path: &str,
) -> Result<Vec<(bool, Option<&'a str>)>, Unreadable> {
    let readings = readings(path)?;
    let need = |(is_narrowed, path): &(bool, Vec<String>)| {
        let line = lines.iter().find(|(pattern, _)| matches(pattern, path));
        (*is_narrowed, line.and_then(|(_, feature)| *feature))
    };
    Ok(readings.iter().map(need).collect())
}

/// Whether any reading of a path matches a pattern.
fn matches(pattern: &str, path: &[String]) -> bool {
    let mut segments: Vec<&str> = pattern.split('/').filter(|it| !it.is_empty()).collect();
    let open = segments.last() == Some(&"**");
    if open {
        segments.pop();
    }
    let fits = match open {
        true => path.len() >= segments.len(),
        false => path.len() == segments.len(),
    };
    fits && segments
        .iter()
        .zip(path)
        .all(|(own, it)| *own == "*" || own == it)
}

#[derive(Clone, Copy)]
struct Reading {
    fully: bool,
    escaped_slashes: bool,
    backslashes: bool,
    cuts_parameters: bool,
    follows_dots: bool,
    drops_empty: bool,
    ascii_only: bool,
    compatible: bool,
    trims: Trims,
}

#[derive(Clone, Copy, PartialEq)]
enum Trims {
    Nothing,
    Spaces,
    SpacesAndDots,
}

fn readings(raw: &str) -> Result<Vec<(bool, Vec<String>)>, Unreadable> {
    let path = raw.split('?').next().unwrap();
    let trims = [Trims::Nothing, Trims::Spaces, Trims::SpacesAndDots];
    let each = (0..=255_u8).flat_map(|number| trims.map(|trims| (number, trims)));
    each.map(|(number, trims)| {
        let bit = |at: u8| number >> at & 1 == 1;
        let reading = Reading {
            fully: bit(0),
            escaped_slashes: bit(1),
            backslashes: bit(2),
            cuts_parameters: bit(3),
            follows_dots: bit(4),
            drops_empty: bit(5),
            ascii_only: bit(6),
            compatible: bit(7),
            trims,
        };
        let is_narrowed = reading.ascii_only || reading.compatible || trims != Trims::Nothing;
        Ok((is_narrowed, reading.read(path)?))
    })
    .collect()
}

impl Reading {
    fn read(self, path: &str) -> Result<Vec<String>, Unreadable> {
        let is_slash = |c: char| c == '/' || self.backslashes && c == '\\';
        let undone = |text: &str| {
            let mut text = match self.fully {
                true => unescaped(text)?,
                false => unescaped_once(text)?,
            };
            if self.compatible {
                text = text.nfkc().collect();
            }
            text.retain(|c| c.is_ascii() || !self.ascii_only);
            Ok(text)
        };
        let pieces: Vec<String> = match self.escaped_slashes {
            true => undone(path)?.split(is_slash).map(str::to_owned).collect(),
            false => path.split(is_slash).map(undone).collect::<Result<_, _>>()?,
        };
        let mut segments: Vec<String> = Vec::new();
        for piece in pieces.into_iter().skip(1) {
            let piece = match self.cuts_parameters {
                true => piece.split(';').next().unwrap().to_owned(),
                false => piece,
            };
            let piece = self.trims.read(&piece).to_owned();
            match piece.as_str() {
                "" if self.drops_empty => {}
                "." if self.follows_dots => {}
                ".." if self.follows_dots => {
                    segments.pop();
                }
                _ => segments.push(piece),
            }
        }
        if segments.last().is_some_and(String::is_empty) {
            segments.pop();
        }
        Ok(segments)
    }
}

impl Trims {
    fn read(self, segment: &str) -> &str {
        let without_spaces = segment.trim_matches(' ');
        match (self, without_spaces) {
            (Self::Nothing, _) => segment,
            (Self::Spaces, _) | (Self::SpacesAndDots, "." | "..") => without_spaces,
            (Self::SpacesAndDots, other) => other.trim_end_matches([' ', '.']),
        }
    }
}

fn unescaped(path: &str) -> Result<String, Unreadable> {
    let mut path = unescaped_once(path)?;
    for _ in 1..4 {
        path = undo_escapes(&path, Ok)?;
    }
    match undo_escapes(&path, Ok)? == path {
        true => Ok(path),
        false => Err(Unreadable),
    }
}

fn unescaped_once(path: &str) -> Result<String, Unreadable> {
    undo_escapes(path, |_| Err(Unreadable))
}

fn undo_escapes(
    path: &str,
    odd: impl Fn(u8) -> Result<u8, Unreadable>,
) -> Result<String, Unreadable> {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [byte, behind @ ..] = rest {
        let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        let escape = (*byte == b'%').then(|| digit(0).zip(digit(1)));
        rest = behind;
        match escape {
            None => bytes.push(*byte),
            Some(None) => bytes.push(odd(*byte)?),
            Some(Some((high, low))) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap());
                rest = &behind[2..];
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| Unreadable)
}
