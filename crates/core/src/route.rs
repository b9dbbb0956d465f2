//! Which feature a request of the VMS needs, by its method and path.
//!
//! A gateway that asks by path must not be bypassed with another spelling of the same path. The
//! service behind it interprets an unusual path in one of several ways (`route/readings.rs`), and
//! it is not known here in which one. An unusual path is therefore read in all of them, and is
//! refused unless all readings need the same feature. Paths that no legitimate client sends are
//! always refused.

mod combinations;
mod form_tables;
mod forms;
mod path;
mod path_error;
mod readings;
mod text;
mod tree;
mod trimmed;
mod url;

use std::collections::BTreeSet;

pub use path::PlainPath;
pub use path_error::{MAX_AMBIGUOUS_PLACES, MAX_PATH_BYTES, MAX_SEGMENTS, PathError};
pub use url::path_of_url;

use crate::feature::FeatureKey;
use readings::Matches;
use tree::{Match, Tree, Work};

/// The paths that a route matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<Segment>,
    /// Ends with `**`, which matches the rest of the path.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// `*`: any one segment.
    Any,
}

/// Why a text is not a valid pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is not a valid path.
    #[error("{0}")]
    Path(#[from] PathError),
    /// `**` is not at the end.
    #[error("'**' stands for the rest of a path and must come last")]
    OpenInside,
    /// A segment contains `*` and something else.
    #[error("'{0}': '*' must stand for a whole segment")]
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

/// A route: one entry of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The methods, in capitals; empty for all methods.
    pub methods: Vec<String>,
    /// The paths that match.
    pub pattern: Pattern,
    /// The required feature; `None` if no feature is required.
    pub feature: Option<FeatureKey>,
}

/// What happens to a request that matches no route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Otherwise {
    /// The request is allowed.
    #[default]
    Allow,
    /// The request is refused.
    Deny,
}

impl Otherwise {
    /// The value as written in a table: `allow` or `deny`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What a request requires, according to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// A feature.
    Feature(&'a FeatureKey),
    /// Nothing: the request is allowed.
    Nothing,
    /// No route matches, and such requests are refused.
    Unlisted,
    /// The path is not one that a legitimate client sends.
    BadPath(PathError),
}

/// The work that is left for the unusual paths of one question. A question whose paths need more
/// than this is not answered: its paths are bad.
#[derive(Debug, Default)]
pub struct Effort(Work);

/// Routes, of which the first match applies.
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
    /// Creates a table. With `ignore_case`, paths are compared case-insensitively, for services
    /// that do the same.
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

    /// The number of routes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether the table has no routes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// What happens to a request that matches no route.
    #[must_use]
    pub fn otherwise(&self) -> Otherwise {
        self.otherwise
    }

    /// What a request requires, by its method and its path, with or without a query. HEAD requires
    /// what GET requires, and methods are compared case-insensitively.
    #[must_use]
    pub fn need(&self, method: &str, path: impl AsRef<[u8]>) -> Need<'_> {
        self.need_within(&mut Effort::default(), method, path)
    }

    /// The same for one of several paths of a question, which share the effort.
    #[must_use]
    pub fn need_within(
        &self,
        effort: &mut Effort,
        method: &str,
        path: impl AsRef<[u8]>,
    ) -> Need<'_> {
        let matches = match readings::matches(path.as_ref(), &self.tree, &mut effort.0) {
            Ok(matches) => matches,
            Err(error) => return Need::BadPath(error),
        };
        self.need_in_all(Some(&as_compared(method)), &matches)
    }

    /// What a request with an unknown method requires: the requirements of all methods, including
    /// those that no route names. All of them have to be met. The path is read once for all
    /// methods.
    #[must_use]
    pub fn needs_of_any_method(
        &self,
        effort: &mut Effort,
        path: impl AsRef<[u8]>,
    ) -> Vec<Need<'_>> {
        let matches = match readings::matches(path.as_ref(), &self.tree, &mut effort.0) {
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

    /// What a request requires, if all readings of its path require the same. `None` is a method
    /// that no route names.
    ///
    /// A service that replaces or removes characters of ordinary names does not serve such names,
    /// so its readings count only if they require a feature: `/cameras/門/map` must not be refused
    /// because `/cameras/map` requires none.
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

    /// The requirements of the first route that certainly matches, and of those before it that may
    /// match.
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
