//! The routes of a table as a tree of segments, and a walk through it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

use super::forms::decomposed;
use super::path_error::PathError;
use super::{Pattern, Segment};

/// Patterns, stored by segment, so that the cost of a lookup does not grow with the number of
/// routes.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    ignore_case: bool,
}

#[derive(Clone, Debug, Default)]
struct Node {
    literals: BTreeMap<Box<[u8]>, usize>,
    /// The child for `*`.
    any: Option<usize>,
    /// Indexes of the routes that end here.
    exact: Vec<usize>,
    /// Indexes of the routes that end here with `**`.
    open: Vec<usize>,
    /// The literals in order, also in their decomposed forms, and their children.
    forms: Vec<(Box<[u8]>, usize)>,
    parent: usize,
    depth: usize,
}

/// A route that a reading of a path matches, or may match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// The index of the route.
    pub(super) route: usize,
    /// Whether the match is certain for every service that reads the path in this way.
    pub(super) certain: bool,
}

/// One segment of a reading.
pub(super) enum Piece<'a> {
    /// The bytes of the segment.
    Plain(&'a [u8]),
    /// Sequences of bytes that every service sees, each followed by a number of bytes that services
    /// see differently; and the bytes after the last of these.
    Unknown(Vec<(&'a [u8], usize)>, &'a [u8]),
}

/// Units of [`Work`] for comparing a literal with an unknown segment; the literal is rarely in the
/// CPU cache.
const SCAN: usize = 8;
/// Maximum number of characters that a service sees in place of one byte that is not UTF-8. Of the
/// Latin letters, ß and ligatures become two if a service converts to ASCII; all others become one
/// or none, in any character set.
const CHARS_PER_BYTE: usize = 2;

/// The remaining work budget. One unit is about 10 ns.
#[derive(Debug)]
pub(super) struct Work(u32);

impl Work {
    pub(super) fn at_most(units: u32) -> Self {
        Self(units)
    }

    /// Does `units` of work.
    ///
    /// # Errors
    /// [`PathError::TooAmbiguous`] when that is more than there is left.
    pub(super) fn spend(&mut self, units: usize) -> Result<(), PathError> {
        let units = u32::try_from(units).map_err(|_| PathError::TooAmbiguous)?;
        self.0 = self.0.checked_sub(units).ok_or(PathError::TooAmbiguous)?;
        Ok(())
    }

    /// The remaining units.
    #[cfg(test)]
    pub(super) fn left(&self) -> u32 {
        self.0
    }
}

impl Tree {
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a Pattern>, ignore_case: bool) -> Self {
        let mut tree = Self {
            nodes: vec![Node::default()],
            ignore_case,
        };
        for (number, pattern) in patterns.enumerate() {
            let mut at = 0;
            for segment in &pattern.segments {
                at = tree.child(at, segment);
            }
            let node = &mut tree.nodes[at];
            match pattern.open {
                true => node.open.push(number),
                false => node.exact.push(number),
            }
        }
        tree.add_forms();
        tree
    }

    fn add_forms(&mut self) {
        for node in &mut self.nodes {
            let own = node.literals.iter();
            node.forms = own.map(|(it, child)| (it.clone(), *child)).collect();
            for (literal, child) in &node.literals {
                let other = std::str::from_utf8(literal).ok().and_then(decomposed);
                let other = other.map(|it| (it.into_bytes().into(), *child));
                node.forms.extend(other);
            }
            node.forms.sort();
        }
    }

    /// Whether paths are compared case-insensitively.
    pub(super) fn ignores_case(&self) -> bool {
        self.ignore_case
    }

    /// The literals below a node in order, in all forms, and the nodes that they lead to.
    pub(super) fn forms(&self, node: usize) -> &[(Box<[u8]>, usize)] {
        &self.nodes[node].forms
    }

    /// The node for `*` below a node.
    pub(super) fn any(&self, node: usize) -> Option<usize> {
        self.nodes[node].any
    }

    /// The node above a node; the root is above itself.
    pub(super) fn parent(&self, node: usize) -> usize {
        self.nodes[node].parent
    }

    /// The number of segments that lead to a node.
    pub(super) fn depth(&self, node: usize) -> usize {
        self.nodes[node].depth
    }

    /// The indexes of the routes that end at a node: those with `**`, and those without.
    pub(super) fn routes(&self, node: usize) -> (&[usize], &[usize]) {
        (&self.nodes[node].open, &self.nodes[node].exact)
    }

    fn child(&mut self, at: usize, segment: &Segment) -> usize {
        let next = self.nodes.len();
        let child = match segment {
            Segment::Literal(literal) => {
                let literal = folded(literal.as_bytes(), self.ignore_case).into();
                *self.nodes[at].literals.entry(literal).or_insert(next)
            }
            Segment::Any => *self.nodes[at].any.get_or_insert(next),
        };
        if child == next {
            self.nodes.push(Node {
                parent: at,
                depth: self.nodes[at].depth + 1,
                ..Node::default()
            });
        }
        child
    }
}

/// A walk through the tree, segment by segment. It is in several places at the same time, because a
/// segment may match both a literal and `*`.
pub(super) struct Walk<'a> {
    tree: &'a Tree,
    /// The places after each segment, one after the other, and whether every
    /// service agrees that they are reached.
    places: Vec<(usize, bool)>,
    /// Where the places after each segment begin, and whether it is empty.
    levels: Vec<(usize, bool)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self {
            tree,
            places: vec![(0, true)],
            levels: Vec::new(),
        }
    }

    /// Returns to the root.
    pub(super) fn restart(&mut self) {
        self.places.truncate(1);
        self.levels.clear();
    }

    fn here(&self) -> usize {
        self.levels.last().map_or(0, |(start, _)| *start)
    }

    /// Descends into a segment.
    pub(super) fn enter(&mut self, piece: &Piece<'_>, work: &mut Work) -> Result<(), PathError> {
        work.spend(1)?;
        let (from, to) = (self.here(), self.places.len());
        let is_empty = matches!(piece, Piece::Plain([]));
        self.levels.push((to, is_empty));
        if from == to {
            return Ok(());
        }
        let nodes = &self.tree.nodes;
        let fold = |bytes| folded(bytes, self.tree.ignore_case);
        let (start, rest) = match piece {
            Piece::Plain(whole) => (fold(whole), None),
            Piece::Unknown(parts, end) => {
                let (first, unknown) = parts.first().copied().unwrap_or_default();
                let rest = Rest::new(unknown, parts.get(1..).unwrap_or_default(), end, fold);
                work.spend(parts.len())?;
                (fold(first), Some(rest))
            }
        };
        if self.tree.ignore_case {
            work.spend(start.len() / 8)?;
        }
        for place in from..to {
            let (at, certain) = self.places[place];
            let node = &nodes[at];
            work.spend(1 + node.literals.len().checked_ilog2().unwrap_or(0) as usize)?;
            self.places.extend(node.any.map(|child| (child, certain)));
            match &rest {
                None => {
                    let child = node.literals.get(&*start);
                    self.places.extend(child.map(|child| (*child, certain)));
                }
                Some(rest) => {
                    let from = (Bound::Included(&*start), Bound::Unbounded);
                    for (literal, child) in node.literals.range::<[u8], _>(from) {
                        let Some(behind) = literal.strip_prefix(&*start) else {
                            break;
                        };
                        work.spend(SCAN)?;
                        if rest.may_be(behind, work)? {
                            self.places.push((*child, false));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Leaves the last segment; returns whether there was one.
    pub(super) fn leave(&mut self) -> bool {
        let Some((start, _)) = self.levels.pop() else {
            return false;
        };
        self.places.truncate(start);
        true
    }

    /// The indexes of the routes that match the path ending here. An empty segment at the end is
    /// ignored.
    pub(super) fn matches(&mut self, work: &mut Work) -> Result<Vec<Match>, PathError> {
        if self.levels.last().is_some_and(|(_, is_empty)| *is_empty) {
            self.leave();
        }
        work.spend(1 + self.places.len())?;
        let here = self.here();
        let mut matches = Vec::new();
        for (place, (at, certain)) in self.places.iter().enumerate() {
            let node = &self.tree.nodes[*at];
            let exact = node.exact.iter().filter(|_| place >= here);
            let routes = node.open.iter().chain(exact);
            matches.extend(routes.map(|route| Match {
                route: *route,
                certain: *certain,
            }));
        }
        work.spend(matches.len())?;
        Ok(in_order(matches))
    }
}

/// The matches in the order of the routes, each one time.
pub(super) fn in_order(mut matches: Vec<Match>) -> Vec<Match> {
    matches.sort_unstable_by_key(|it| (it.route, !it.certain));
    matches.dedup_by_key(|it| it.route);
    matches
}

/// What follows the bytes at the beginning of an unknown segment.
struct Rest<'a> {
    /// The maximum number of characters that a service may see, and what follows them.
    parts: Vec<(usize, Cow<'a, [u8]>)>,
}

impl<'a> Rest<'a> {
    fn new(
        first: usize,
        parts: &[(&'a [u8], usize)],
        end: &'a [u8],
        fold: impl Fn(&'a [u8]) -> Cow<'a, [u8]>,
    ) -> Self {
        let mut unknown = first;
        let mut rest = Vec::with_capacity(parts.len() + 1);
        for (known, next) in parts {
            rest.push((unknown * CHARS_PER_BYTE, fold(known)));
            unknown = *next;
        }
        rest.push((unknown * CHARS_PER_BYTE, fold(end)));
        Self { parts: rest }
    }

    /// Whether a service may see these bytes.
    fn may_be(&self, bytes: &[u8], work: &mut Work) -> Result<bool, PathError> {
        if !self
            .parts
            .last()
            .is_some_and(|(_, end)| bytes.ends_with(end))
        {
            return Ok(false);
        }
        // Two-byte character sets have ASCII bytes within other characters.
        if !bytes.is_ascii() {
            return Ok(true);
        }
        // The positions where the parts so far may end.
        let mut ends = vec![0];
        for (chars, known) in &self.parts {
            work.spend(1 + (ends.len() * bytes.len() + known.len()) / 8)?;
            let mut next = Vec::new();
            for end in ends {
                let last = bytes.len().min(end + chars);
                let found = (end..=last).filter(|at| bytes[*at..].starts_with(known));
                next.extend(found.map(|at| at + known.len()));
            }
            next.sort_unstable();
            next.dedup();
            ends = next;
        }
        Ok(ends.last() == Some(&bytes.len()))
    }
}

/// A segment in the form used for comparison.
fn folded(segment: &[u8], ignore_case: bool) -> Cow<'_, [u8]> {
    match ignore_case {
        true => Cow::Owned(String::from_utf8_lossy(segment).to_lowercase().into_bytes()),
        false => Cow::Borrowed(segment),
    }
}
