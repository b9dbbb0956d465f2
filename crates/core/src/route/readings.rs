//! Every way in which a service may read a path, and the routes that match in each.
//!
//! A service behind a gateway may decode escapes once or several times, treat a backslash as a
//! slash, resolve `..` or not, remove parameters or not, drop bytes that are not UTF-8 or decode
//! them leniently, or trim segments. A path without any of these is read once. An unusual path is
//! read in each way that makes a difference for it, within a limit on the total work. Characters
//! outside ASCII may be dropped or replaced (`route/combinations.rs`).

mod texts;

use std::ops::Range;

use self::texts::{Source, texts};
use super::combinations::combinations;
use super::path::path_of;
use super::path_error::PathError;
use super::text::{Kind, MAX_ROUNDS, Mark, Text};
use super::tree::{Match, Piece, Tree, Walk, Work};

/// Maximum work for the additional readings of the paths of one question, in units of [`Work`].
const MAX_WORK: u32 = 2_000;

impl Default for Work {
    fn default() -> Self {
        Self::at_most(MAX_WORK)
    }
}

/// The matching routes in each reading, without duplicates.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matches {
    /// In readings that must all need the same feature.
    pub(super) readings: Vec<Vec<Match>>,
    /// In the readings of a service that replaces or removes characters of ordinary paths.
    pub(super) narrowed: Vec<Vec<Match>>,
}

/// Finds the matching routes for the path in each reading.
pub(super) fn matches(raw: &[u8], tree: &Tree, work: &mut Work) -> Result<Matches, PathError> {
    let path = path_of(raw)?;
    let mut found = Matches::default();
    for (text, marks, source) in texts(path, work)? {
        if !text.bytes().is_ascii() {
            found.narrowed.push(combinations(&text, tree, work)?);
        }
        let readings = Readings::of(&text, marks)?;
        let is_first = found.readings.is_empty();
        let found = match source {
            Source::Narrowed => &mut found.narrowed,
            Source::AsSent | Source::Changed => &mut found.readings,
        };
        readings.walk(tree, work, is_first, found)?;
    }
    Ok(found)
}

/// One way in which a service may read a text.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Reading {
    /// Separators of this and earlier rounds of unescaping end a segment.
    separators: u8,
    /// A backslash is a slash.
    backslashes: bool,
    /// `.` and `..` of this and earlier rounds are resolved.
    dots: Option<u8>,
    /// Parameters after a semicolon are removed.
    cuts_parameters: bool,
    /// The path ends at an escaped question mark or `#`.
    cuts_query: bool,
    /// Empty segments are removed. An empty segment at the end always is.
    drops_empty: bool,
    /// The text after two slashes at the beginning is a host name.
    drops_host: bool,
}

/// A text, and the ways to read it that make a difference.
struct Readings<'a> {
    text: &'a Text,
    marks: Vec<Mark>,
    plainest: Reading,
    /// The values of [`Reading::separators`], except the greatest.
    separators: Vec<u8>,
    /// The values of [`Reading::dots`], except the greatest.
    dots: Vec<Option<u8>>,
    has_backslashes: bool,
    has_parameters: bool,
    has_query: bool,
    has_empty: bool,
    has_host: bool,
}

/// A segment of a text.
struct Found {
    range: Range<usize>,
    /// The marks in the segment where services may see something else, from the first to the last;
    /// other marks may be in between.
    unknown: Option<Range<usize>>,
    is_last: bool,
}

impl<'a> Readings<'a> {
    fn of(text: &'a Text, marks: Vec<Mark>) -> Result<Self, PathError> {
        let has = |kind| marks.iter().any(|mark: &Mark| mark.kind == kind);
        let is_separator = |mark: &&Mark| matches!(mark.kind, Kind::Slash | Kind::Backslash);
        let mut separators: Vec<u8> = marks
            .iter()
            .filter(is_separator)
            .map(|it| it.origin)
            .collect();
        separators.sort_unstable();
        separators.dedup();
        let mut readings = Self {
            text,
            plainest: Reading {
                separators: separators.pop().unwrap_or_default(),
                backslashes: true,
                dots: Some(MAX_ROUNDS),
                cuts_parameters: true,
                cuts_query: false,
                drops_empty: true,
                drops_host: false,
            },
            separators,
            dots: Vec::new(),
            has_backslashes: has(Kind::Backslash),
            has_parameters: has(Kind::Parameter),
            has_query: has(Kind::Query),
            has_empty: false,
            has_host: false,
            marks,
        };
        // The reading that ends the most segments also contains all dot segments and empty
        // segments of the others.
        let mut dots = Vec::new();
        let (mut has_empty, mut has_host) = (false, false);
        for cuts_query in [false, true] {
            let reading = Reading {
                cuts_query,
                ..readings.plainest
            };
            readings.segments(reading, |segment| {
                let is_empty = segment.range.is_empty() && !segment.is_last;
                has_empty |= is_empty;
                has_host |= is_empty && segment.range.start == 1;
                dots.extend(readings.dots_of(&segment).map(|(_, origin)| Some(origin)));
                Ok(())
            })?;
        }
        dots.sort_unstable();
        dots.dedup();
        if !dots.is_empty() {
            dots.pop();
            dots.push(None);
        }
        readings.dots = dots;
        readings.has_empty = has_empty;
        readings.has_host = has_host;
        Ok(readings)
    }

    /// Walks every reading, the plainest first.
    fn walk(
        &self,
        tree: &Tree,
        work: &mut Work,
        is_first: bool,
        found: &mut Vec<Vec<Match>>,
    ) -> Result<(), PathError> {
        let mut walk = Walk::new(tree);
        let is_odd = self.marks.iter().any(|mark| mark.kind == Kind::Unknown);
        if is_first && !is_odd {
            // A path that can be read in only one way is never too much work.
            let mut unbounded = Work::at_most(u32::MAX);
            self.read(self.plainest, &mut walk, &mut unbounded, found)?;
        } else {
            self.read(self.plainest, &mut walk, work, found)?;
        }
        let either = |has: bool, plainest: bool| match has {
            true => vec![plainest, !plainest],
            false => vec![plainest],
        };
        let plainest = self.plainest;
        let separators = [&[plainest.separators], &*self.separators].concat();
        let dots = [&[plainest.dots], &*self.dots].concat();
        for separators in separators {
            for backslashes in either(self.has_backslashes, plainest.backslashes) {
                for &dots in &dots {
                    for cuts_parameters in either(self.has_parameters, plainest.cuts_parameters) {
                        for cuts_query in either(self.has_query, plainest.cuts_query) {
                            for drops_empty in either(self.has_empty, plainest.drops_empty) {
                                for drops_host in either(self.has_host, plainest.drops_host) {
                                    let reading = Reading {
                                        separators,
                                        backslashes,
                                        dots,
                                        cuts_parameters,
                                        cuts_query,
                                        drops_empty,
                                        drops_host,
                                    };
                                    if reading != plainest {
                                        self.read(reading, &mut walk, work, found)?;
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn read(
        &self,
        reading: Reading,
        walk: &mut Walk<'_>,
        work: &mut Work,
        found: &mut Vec<Vec<Match>>,
    ) -> Result<(), PathError> {
        walk.restart();
        work.spend(1 + self.marks.len() / 4)?;
        let mut is_host = reading.drops_host;
        self.segments(reading, |segment| {
            let is_empty = segment.range.is_empty();
            if is_host {
                is_host = is_empty;
                return Ok(());
            }
            if is_empty && reading.drops_empty {
                return Ok(());
            }
            match self.dots_of(&segment) {
                Some((goes_up, origin)) if reading.dots.is_some_and(|it| origin <= it) => {
                    let is_root = goes_up && !walk.leave();
                    match is_root && reading == self.plainest {
                        true => Err(PathError::AboveRoot),
                        false => Ok(()),
                    }
                }
                _ => walk.enter(&self.piece(&segment), work),
            }
        })?;
        let matches = walk.matches(work)?;
        work.spend(found.len())?;
        if !found.contains(&matches) {
            found.push(matches);
        }
        Ok(())
    }

    /// Passes on the segments of a reading, with unresolved dots and empty segments.
    fn segments(
        &self,
        reading: Reading,
        mut each: impl FnMut(Found) -> Result<(), PathError>,
    ) -> Result<(), PathError> {
        let mut start = 1;
        let mut cut = None;
        let mut unknown: Option<Range<usize>> = None;
        let mut end_of_path = self.text.bytes().len();
        for (number, mark) in self.marks.iter().enumerate().skip(1) {
            match mark.kind {
                Kind::Backslash if !reading.backslashes => {}
                Kind::Slash | Kind::Backslash if mark.origin <= reading.separators => {
                    let end = cut.take().unwrap_or(mark.start);
                    each(found(start..end, unknown.take(), false))?;
                    start = mark.end;
                }
                Kind::Parameter if reading.cuts_parameters => {
                    cut = cut.or(Some(mark.start));
                }
                Kind::Query if reading.cuts_query => {
                    end_of_path = mark.start;
                    break;
                }
                Kind::Unknown if cut.is_none() => {
                    let first = unknown.map_or(number, |it| it.start);
                    unknown = Some(first..number + 1);
                }
                _ => {}
            }
        }
        let end = cut.unwrap_or(end_of_path);
        each(found(start..end, unknown, true))
    }

    /// Whether a segment is `.` or `..`: whether it goes up, and the round of unescaping that
    /// produced it.
    fn dots_of(&self, segment: &Found) -> Option<(bool, u8)> {
        let bytes = &self.text.bytes()[segment.range.clone()];
        let goes_up = match bytes {
            b"." => false,
            b".." => true,
            _ => return None,
        };
        let origin = self.text.origin(segment.range.start, segment.range.end);
        Some((goes_up, origin))
    }

    fn piece(&self, segment: &Found) -> Piece<'_> {
        let bytes = self.text.bytes();
        let Range { mut start, end } = segment.range;
        let Some(unknown) = &segment.unknown else {
            return Piece::Plain(&bytes[start..end]);
        };
        let marks = self.marks[unknown.clone()].iter();
        let mut parts = Vec::with_capacity(unknown.len());
        for mark in marks.filter(|mark| mark.kind == Kind::Unknown) {
            // Decoders may treat the characters after a percent sign as digits, but a slash ends
            // the segment in all of them.
            let unknown_end = mark.end.min(end);
            parts.push((
                &bytes[start..mark.start.max(start)],
                unknown_end - mark.start.min(unknown_end),
            ));
            start = unknown_end.max(start);
        }
        Piece::Unknown(parts, &bytes[start..end])
    }
}

fn found(range: Range<usize>, unknown: Option<Range<usize>>, is_last: bool) -> Found {
    Found {
        range,
        unknown,
        is_last,
    }
}

#[cfg(test)]
mod tests;
