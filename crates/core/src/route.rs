//! Which feature a request of the VMS needs, by its method and path.
//!
//! A gateway that asks by path must not be talked round by another spelling of
//! the same path. What is behind it reads an odd path in one of several ways
//! (`route/readings.rs`), and which one is not known here. So an odd path is
//! read in all of them, and is refused unless it needs the same in each. What
//! no honest client sends is refused in any case.

mod narrowed;
mod path;
mod path_error;
mod readings;
mod text;
mod tree;
mod url;

use std::collections::BTreeSet;

pub use path::PlainPath;
pub use path_error::{MAX_ODD_PLACES, MAX_PATH_BYTES, MAX_SEGMENTS, PathError};
pub use url::path_of_url;

use crate::feature::FeatureKey;
use readings::Matches;
use tree::{Match, Tree};

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
    #[error("'**' stands for the rest of a path and must come last")]
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
    /// Its path is not one that a legitimate client sends.
    BadPath(PathError),
}

/// Routes, of which the first that matches counts.
#[derive(Clone, Debug)]
pub struct RouteTable {
    routes: Vec<Route>,
    otherwise: Otherwise,
    tree: Tree,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::new(Vec::new(), Otherwise::default(), false)
    }
}

impl RouteTable {
    /// Makes a table. With `ignore_case` paths are compared without regard to
    /// case, for gateways before services that do the same.
    #[must_use]
    pub fn new(mut routes: Vec<Route>, otherwise: Otherwise, ignore_case: bool) -> Self {
        for method in routes.iter_mut().flat_map(|route| &mut route.methods) {
            *method = as_compared(method);
        }
        let patterns = routes.iter().map(|route| &route.pattern);
        Self {
            tree: Tree::new(patterns, ignore_case),
            routes,
            otherwise,
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

    /// What a request needs, by its method and its path with or without a
    /// query. HEAD needs what GET needs, and the case of a method does not
    /// matter.
    #[must_use]
    pub fn need(&self, method: &str, path: impl AsRef<[u8]>) -> Need<'_> {
        let matches = match readings::matches(path.as_ref(), &self.tree) {
            Ok(matches) => matches,
            Err(error) => return Need::BadPath(error),
        };
        self.need_in_all(Some(&as_compared(method)), &matches)
    }

    /// What a request needs whose method is not known: everything that it needs
    /// with one method or another, also with methods that no route names. Each
    /// has to be met. The path is read one time for all methods.
    #[must_use]
    pub fn needs_of_any_method(&self, path: impl AsRef<[u8]>) -> Vec<Need<'_>> {
        let matches = match readings::matches(path.as_ref(), &self.tree) {
            Ok(matches) => matches,
            Err(error) => return vec![Need::BadPath(error)],
        };
        let reached = matches.readings.iter().chain(&matches.narrowed).flatten();
        let named: BTreeSet<&str> = reached
            .flat_map(|it| &self.routes[it.route].methods)
            .map(String::as_str)
            .collect();
        let mut needs = vec![self.need_in_all(None, &matches)];
        for method in named {
            let need = self.need_in_all(Some(method), &matches);
            if !needs.contains(&need) {
                needs.push(need);
            }
        }
        needs
    }

    /// What a request needs if it needs the same in all readings of its path.
    /// `None` is a method that no route names.
    ///
    /// A service that replaces or removes characters of honest names serves no such
    /// names, so its readings count only where they need a feature:
    /// `/cameras/門/map` must not be refused because `/cameras/map` needs none.
    fn need_in_all<'question>(
        &self,
        method: Option<&'question str>,
        matches: &'question Matches,
    ) -> Need<'_> {
        let in_one = |matches: &'question Vec<Match>| self.needs_in_one(method, matches);
        let narrowed = matches.narrowed.iter().flat_map(in_one);
        let mut needs = matches
            .readings
            .iter()
            .flat_map(in_one)
            .chain(narrowed.filter(|need| matches!(need, Need::Feature(_))));
        let first = needs.next().unwrap_or(Need::Unlisted);
        match needs.all(|need| need == first) {
            true => first,
            false => Need::BadPath(PathError::Ambiguous),
        }
    }

    /// What it needs by the first route that matches for certain, and by those
    /// before it that may match.
    fn needs_in_one<'table, 'question>(
        &'table self,
        method: Option<&'question str>,
        matches: &'question [Match],
    ) -> impl Iterator<Item = Need<'table>> + use<'table, 'question> {
        let accepts = move |it: &&Match| {
            let methods = &self.routes[it.route].methods;
            methods.is_empty() || methods.iter().any(|own| Some(own.as_str()) == method)
        };
        let mut matches = matches.iter().filter(accepts);
        let mut is_decided = false;
        std::iter::from_fn(move || {
            if is_decided {
                return None;
            }
            let found = matches.next();
            is_decided = found.is_none_or(|it| it.certain);
            Some(match (found, self.otherwise) {
                (Some(it), _) => {
                    let feature = self.routes[it.route].feature.as_ref();
                    feature.map_or(Need::Nothing, Need::Feature)
                }
                (None, Otherwise::Allow) => Need::Nothing,
                (None, Otherwise::Deny) => Need::Unlisted,
            })
        })
    }
}

/// A method in the form used for comparison: in capitals, with HEAD as GET.
fn as_compared(method: &str) -> String {
    match method.to_ascii_uppercase() {
        head if head == "HEAD" => "GET".to_owned(),
        method => method,
    }
}
