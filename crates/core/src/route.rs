//! Which feature a request of the VMS needs, by its method and path.
//!
//! A gateway that asks by path must not be talked round by another spelling of
//! the same path. What is behind it may undo escapes once or again and again,
//! take a backslash for a slash, follow `..` or not, cut parameters off or not:
//! nobody here knows. So an odd path is read in every one of these ways, and is
//! refused unless it needs the same in all of them. What nobody means at all is
//! refused in any case.

use std::collections::HashMap;

use crate::feature::FeatureKey;

/// Longest path that is looked at, in bytes.
pub const LONGEST_PATH: usize = 8 * 1024;
/// How often escapes within escapes are undone before the path is refused.
const MOST_ROUNDS: usize = 4;
/// So many literal segments at the beginning of a pattern are indexed.
const INDEXED: usize = 4;

/// A path in its plainest form: its segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainPath(Vec<String>);

/// Why a path is none that an honest client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// Longer than [`LONGEST_PATH`].
    #[error("the path is longer than {LONGEST_PATH} bytes")]
    TooLong,
    /// A percent sign is not followed by two hexadecimal digits, or what the
    /// escapes stand for is no UTF-8.
    #[error("the path holds an escape that stands for nothing")]
    BadEscape,
    /// Escapes stand for escapes, again and again.
    #[error("the path is escaped too often")]
    EscapedTooOften,
    /// It holds a character that no path has.
    #[error("the path holds a control character")]
    ControlCharacter,
    /// It leads out of the root.
    #[error("the path leads out of the root")]
    AboveRoot,
    /// Services read it differently, and that makes a difference.
    #[error("the path may be read in ways that need different features")]
    Ambiguous,
}

impl PlainPath {
    /// Brings a path, with or without a query, to its plainest form: escapes
    /// are undone, also those of slashes and dots and those within escapes; a
    /// backslash is a slash; `.` and empty segments are left out, `..` is
    /// followed; parameters behind a semicolon are cut off.
    ///
    /// # Errors
    /// One [`PathError`] for each reason to refuse it.
    pub fn parse(raw: &str) -> Result<Self, PathError> {
        let path = without_query(raw);
        if path.len() > LONGEST_PATH {
            return Err(PathError::TooLong);
        }
        if !path.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        let path = unescaped(path)?;
        if path.chars().any(char::is_control) {
            return Err(PathError::ControlCharacter);
        }
        let mut segments: Vec<String> = Vec::new();
        for segment in path.split(['/', '\\']) {
            let segment = segment.split(';').next().unwrap_or_default();
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop().ok_or(PathError::AboveRoot)?;
                }
                segment => segments.push(segment.to_owned()),
            }
        }
        Ok(Self(segments))
    }

    /// The segments, without slashes.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.0
    }
}

fn without_query(raw: &str) -> &str {
    raw.split(['?', '#']).next().unwrap_or_default()
}

/// One way in which a service may read a path.
#[derive(Clone, Copy)]
struct Reading {
    /// Escapes within escapes are undone, too.
    fully: bool,
    /// An escaped slash is a slash.
    escaped_slashes: bool,
    /// A backslash is a slash.
    backslashes: bool,
    /// Parameters behind a semicolon are cut off.
    cuts_parameters: bool,
    /// `.` and `..` are followed.
    follows_dots: bool,
    /// Empty segments are left out. One at the end always is.
    drops_empty: bool,
}

impl Reading {
    fn all() -> impl Iterator<Item = Self> {
        (0..64_u8).map(|number| {
            let bit = |at: u8| number >> at & 1 == 1;
            Self {
                fully: bit(0),
                escaped_slashes: bit(1),
                backslashes: bit(2),
                cuts_parameters: bit(3),
                follows_dots: bit(4),
                drops_empty: bit(5),
            }
        })
    }

    fn read(self, path: &str) -> Result<Vec<String>, PathError> {
        let is_slash = |c: char| c == '/' || self.backslashes && c == '\\';
        let undone = |text: &str| match self.fully {
            true => unescaped(text),
            false => unescaped_once(text),
        };
        let pieces: Vec<String> = match self.escaped_slashes {
            true => undone(path)?.split(is_slash).map(str::to_owned).collect(),
            false => path.split(is_slash).map(undone).collect::<Result<_, _>>()?,
        };
        let mut segments: Vec<String> = Vec::new();
        for piece in pieces.into_iter().skip(1) {
            let piece = match self.cuts_parameters {
                true => piece.split(';').next().unwrap_or_default().to_owned(),
                false => piece,
            };
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

/// Every way to read a path that makes a difference, the plainest first.
fn readings(raw: &str) -> Result<Vec<Vec<String>>, PathError> {
    let mut readings = vec![PlainPath::parse(raw)?.0];
    let path = without_query(raw);
    let is_odd = path.contains(['%', ';', '\\']) || path.contains("//") || path.contains("/.");
    if is_odd {
        for reading in Reading::all() {
            let segments = reading.read(path)?;
            if !readings.contains(&segments) {
                readings.push(segments);
            }
        }
    }
    Ok(readings)
}

/// Undoes escapes again and again. What was a percent sign once may stand for
/// itself: `100%25` is 100 %.
fn unescaped(path: &str) -> Result<String, PathError> {
    let mut path = unescaped_once(path)?;
    for _ in 1..MOST_ROUNDS {
        let once = undo_escapes(&path, Ok)?;
        if once == path {
            return Ok(path);
        }
        path = once;
    }
    let once = undo_escapes(&path, Ok)?;
    match once == path {
        true => Ok(path),
        false => Err(PathError::EscapedTooOften),
    }
}

fn unescaped_once(path: &str) -> Result<String, PathError> {
    undo_escapes(path, |_| Err(PathError::BadEscape))
}

/// `odd` says what becomes of a percent sign without two digits behind it.
fn undo_escapes(
    path: &str,
    odd: impl Fn(u8) -> Result<u8, PathError>,
) -> Result<String, PathError> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [byte, behind @ ..] = rest {
        let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        let escape = (*byte == b'%').then(|| digit(0).zip(digit(1)));
        rest = behind;
        match escape {
            None => bytes.push(*byte),
            Some(None) => bytes.push(odd(*byte)?),
            Some(Some((high, low))) => {
                bytes.push(u8::try_from(high * 16 + low).map_err(|_| PathError::BadEscape)?);
                rest = &behind[2..];
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| PathError::BadEscape)
}

/// What paths a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<Segment>,
    /// Ends with `**`: what follows does not matter.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// `*`: any one segment.
    Any,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is no path.
    #[error("{0}")]
    Path(#[from] PathError),
    /// `**` stands before the end.
    #[error("'**' stands for the rest of a path, so it comes last")]
    OpenInside,
    /// A segment holds a star and something else.
    #[error("'{0}': a star stands for a whole segment")]
    PartOfSegment(String),
}

impl Pattern {
    /// Reads a pattern such as `/api/analytics/**` or `/cameras/*/map`.
    ///
    /// # Errors
    /// One [`PatternError`] for each rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let path = PlainPath::parse(text)?;
        let mut segments = Vec::new();
        let mut open = false;
        for segment in path.0 {
            if open {
                return Err(PatternError::OpenInside);
            }
            match segment.as_str() {
                "**" => open = true,
                "*" => segments.push(Segment::Any),
                literal if literal.contains('*') => {
                    return Err(PatternError::PartOfSegment(segment));
                }
                _ => segments.push(Segment::Literal(segment)),
            }
        }
        Ok(Self { segments, open })
    }

    fn matches(&self, path: &[String], ignore_case: bool) -> bool {
        let long_enough = match self.open {
            true => path.len() >= self.segments.len(),
            false => path.len() == self.segments.len(),
        };
        let same = |literal: &str, segment: &str| match ignore_case {
            true => literal.to_lowercase() == segment.to_lowercase(),
            false => literal == segment,
        };
        long_enough
            && self.segments.iter().zip(path).all(|(own, it)| match own {
                Segment::Literal(literal) => same(literal, it),
                Segment::Any => true,
            })
    }
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The methods, in capitals; empty for all.
    pub methods: Vec<String>,
    /// The paths.
    pub pattern: Pattern,
    /// What the request needs; `None` when it needs nothing.
    pub feature: Option<FeatureKey>,
}

/// What to do with a request that no route is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Otherwise {
    /// Let it pass.
    #[default]
    Allow,
    /// Refuse it.
    Deny,
}

/// What the table says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// A feature.
    Feature(&'a FeatureKey),
    /// Nothing.
    Nothing,
    /// No route is for it, and then it is refused.
    Unlisted,
    /// Its path is none that an honest client sends.
    BadPath(PathError),
}

/// Routes, of which the first that matches counts.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    otherwise: Otherwise,
    ignore_case: bool,
    /// The numbers of the routes, by the literal segments they begin with: a
    /// table of ten thousand lines is not read line by line.
    index: HashMap<String, Vec<usize>>,
}

impl RouteTable {
    /// Makes a table. With `ignore_case` paths are compared without regard to
    /// case, for gateways before services that do the same.
    #[must_use]
    pub fn new(routes: Vec<Route>, otherwise: Otherwise, ignore_case: bool) -> Self {
        let mut index: HashMap<String, Vec<usize>> = HashMap::new();
        for (number, route) in routes.iter().enumerate() {
            let literals = route.pattern.segments.iter().map_while(|own| match own {
                Segment::Literal(literal) => Some(literal.as_str()),
                Segment::Any => None,
            });
            let key = key(literals.take(INDEXED), ignore_case);
            index.entry(key).or_default().push(number);
        }
        Self {
            routes,
            otherwise,
            ignore_case,
            index,
        }
    }

    /// How many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is no route.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// What a request needs. HEAD needs what GET needs, and the case of a
    /// method does not matter.
    #[must_use]
    pub fn need(&self, method: &str, path: &str) -> Need<'_> {
        let readings = match readings(path) {
            Ok(readings) => readings,
            Err(error) => return Need::BadPath(error),
        };
        let method = match method.to_ascii_uppercase() {
            head if head == "HEAD" => "GET".to_owned(),
            method => method,
        };
        let mut needs = readings.iter().map(|path| self.need_of(&method, path));
        let first = needs.next().unwrap_or(Need::Unlisted);
        match needs.all(|need| need == first) {
            true => first,
            false => Need::BadPath(PathError::Ambiguous),
        }
    }

    fn need_of(&self, method: &str, path: &[String]) -> Need<'_> {
        let mut candidates: Vec<usize> = (0..=INDEXED.min(path.len()))
            .filter_map(|length| {
                let start = path.iter().take(length).map(String::as_str);
                self.index.get(&key(start, self.ignore_case))
            })
            .flatten()
            .copied()
            .collect();
        candidates.sort_unstable();
        let matches = |route: &&Route| {
            (route.methods.is_empty() || route.methods.iter().any(|it| *it == method))
                && route.pattern.matches(path, self.ignore_case)
        };
        let routes = candidates.into_iter().map(|number| &self.routes[number]);
        match (routes.into_iter().find(matches), self.otherwise) {
            (Some(route), _) => route.feature.as_ref().map_or(Need::Nothing, Need::Feature),
            (None, Otherwise::Allow) => Need::Nothing,
            (None, Otherwise::Deny) => Need::Unlisted,
        }
    }
}

fn key<'a>(segments: impl Iterator<Item = &'a str>, ignore_case: bool) -> String {
    let mut key = String::new();
    for segment in segments {
        key.push('/');
        match ignore_case {
            true => key.push_str(&segment.to_lowercase()),
            false => key.push_str(segment),
        }
    }
    key
}
