//! Where a service may be in the tree of routes while it reads a path.

use super::super::path_error::PathError;
use super::super::tree::{Match, Tree, Work, in_order};

/// Units of [`Work`] for finding literals, for each halving of their number; literals are rarely in
/// the CPU cache.
const UNITS_PER_LITERAL: usize = 4;

/// A place in the tree after some segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The deepest node that the segments lead to.
    node: usize,
    /// The number of segments after it.
    beyond: usize,
    /// The depth up to which every service agrees with the nodes above this one.
    certain: usize,
}

impl Place {
    const ROOT: Self = Self {
        node: 0,
        beyond: 0,
        certain: 0,
    };
}

/// A place, and what has been read of the next segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    place: Place,
    /// The literals below the node that begin with the segment.
    low: usize,
    high: usize,
    length: usize,
    shape: Shape,
    mode: Mode,
}

/// What a segment consists of so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Nothing,
    Dot,
    TwoDots,
    Other,
}

/// What happens to the rest of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Read,
    /// Spaces and dots at its end are removed.
    Trim,
    /// Parameters are removed.
    Cut,
    /// The segment is the name of a host.
    Host,
}

/// What every service agrees about in a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Agreement {
    Nothing,
    /// That it is one segment.
    Segment,
    /// And its text.
    Text,
}

impl State {
    /// Whether no literal begins with the segment, so that its text no longer matters.
    pub(super) fn is_decided(&self) -> bool {
        self.low == self.high
    }

    /// Whether only what ends the segment matters.
    pub(super) fn waits_for_end(&self) -> bool {
        let is_other = self.shape == Shape::Other && self.mode != Mode::Trim;
        self.is_decided() && (is_other || matches!(self.mode, Mode::Cut | Mode::Host))
    }

    /// The state after more characters that no literal contains.
    pub(super) fn after_others(mut self) -> Option<Self> {
        self.shape = Shape::Other;
        (self.mode == Mode::Read).then_some(self)
    }
}

/// Adds a state, unless it is already there.
pub(super) fn add(states: &mut Vec<State>, state: State, work: &mut Work) -> Result<(), PathError> {
    work.spend(1 + states.len() / 8)?;
    if !states.contains(&state) {
        states.push(state);
    }
    Ok(())
}

/// The steps between states.
pub(super) struct Steps<'a> {
    pub(super) tree: &'a Tree,
    /// Every service agrees about all segments so far.
    pub(super) is_exact: bool,
    /// The depth up to which no service has left the tree again.
    ceiling: usize,
    /// The places where the path may end before its last byte.
    early_ends: Vec<Place>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self {
            tree,
            is_exact: true,
            ceiling: usize::MAX,
            early_ends: Vec::new(),
        }
    }

    pub(super) fn start(&self) -> State {
        self.begin(Place::ROOT)
    }

    /// The state at the beginning of the next segment.
    fn begin(&self, place: Place) -> State {
        let literals = self.tree.forms(place.node).len();
        State {
            place,
            low: 0,
            high: if place.beyond == 0 { literals } else { 0 },
            length: 0,
            shape: Shape::Nothing,
            mode: Mode::Read,
        }
    }

    /// Reads one byte of a segment in each way.
    pub(super) fn byte(
        &mut self,
        state: State,
        byte: u8,
        is_trailing: bool,
        out: &mut Vec<State>,
        work: &mut Work,
    ) -> Result<(), PathError> {
        match (byte, state.mode) {
            (b'/' | b'\\', mode) => {
                self.end(state, Agreement::Nothing, out, work)?;
                if mode == Mode::Trim {
                    return Ok(());
                }
            }
            (b'?' | b'#', _) => self.end_early(state, work)?,
            // It makes no difference to what is trimmed or cut.
            _ if state.waits_for_end() => {}
            (b';', Mode::Read | Mode::Trim) => {
                let mode = Mode::Cut;
                add(out, State { mode, ..state }, work)?;
            }
            (b' ' | b'.', Mode::Trim) => return add(out, state, work),
            (b' ', Mode::Read) if state.shape == Shape::Nothing => add(out, state, work)?,
            (b' ' | b'.', Mode::Read) if is_trailing => {
                let may_be_trimmed =
                    byte == b' ' || !matches!(state.shape, Shape::Dot | Shape::TwoDots);
                if may_be_trimmed {
                    let mode = Mode::Trim;
                    add(out, State { mode, ..state }, work)?;
                }
            }
            _ => {}
        }
        match state.mode {
            Mode::Read => {
                let next = self.literal(state, byte, work)?;
                add(out, next, work)
            }
            Mode::Cut | Mode::Host => add(out, state, work),
            Mode::Trim => Ok(()),
        }
    }

    /// The state after one more byte of a literal.
    fn literal(&self, mut state: State, byte: u8, work: &mut Work) -> Result<State, PathError> {
        state.shape = match (state.shape, byte) {
            (Shape::Nothing, b'.') => Shape::Dot,
            (Shape::Dot, b'.') => Shape::TwoDots,
            _ => Shape::Other,
        };
        if !state.is_decided() {
            let all = &self.tree.forms(state.place.node)[state.low..state.high];
            let next = |literal: &[u8]| literal.get(state.length).copied();
            let (first, last) = (next(&all[0].0), next(&all[all.len() - 1].0));
            let (start, count) = if first > Some(byte) || last < Some(byte) {
                (0, 0)
            } else if first == last {
                (0, all.len())
            } else {
                work.spend(UNITS_PER_LITERAL * (all.len().ilog2() as usize + 1))?;
                let start = all.partition_point(|(it, _)| next(it) < Some(byte));
                let rest = &all[start..];
                (
                    start,
                    rest.partition_point(|(it, _)| next(it) == Some(byte)),
                )
            };
            state = State {
                low: state.low + start,
                high: state.low + start + count,
                length: state.length + 1,
                ..state
            };
        }
        Ok(decided(state))
    }

    /// Reads any one character.
    pub(super) fn any_character(
        &self,
        state: State,
        out: &mut Vec<State>,
        work: &mut Work,
    ) -> Result<(), PathError> {
        if state.mode != Mode::Read {
            return Ok(());
        }
        let other = State {
            low: 0,
            high: 0,
            ..state
        };
        let next = self.literal(other, 0, work)?;
        add(out, next, work)?;
        let mut low = state.low;
        while low < state.high {
            let literals = &self.tree.forms(state.place.node)[low..state.high];
            let rest = |at: usize| literals[at].0.get(state.length..).unwrap_or_default();
            let Some(&first) = rest(0).first() else {
                low += 1;
                continue;
            };
            // A literal is UTF-8, so the first byte says how many bytes the character has.
            let bytes = first.leading_ones().max(1) as usize;
            let character = rest(0).get(..bytes).unwrap_or_default();
            let count = literals.partition_point(|(it, _)| {
                it.get(state.length..state.length + character.len()) <= Some(character)
            });
            let next = State {
                low,
                high: low + count,
                length: state.length + character.len(),
                shape: Shape::Other,
                ..state
            };
            let halvings = literals.len().ilog2() as usize + 1;
            work.spend(UNITS_PER_LITERAL * halvings)?;
            add(out, next, work)?;
            low += count;
        }
        Ok(())
    }

    /// Ends the segment in each way, and begins the next one.
    pub(super) fn end(
        &mut self,
        state: State,
        agreement: Agreement,
        out: &mut Vec<State>,
        work: &mut Work,
    ) -> Result<(), PathError> {
        let place = state.place;
        if state.mode == Mode::Host {
            return add(out, self.begin(place), work);
        }
        match state.shape {
            Shape::Nothing if place.node == 0 && place.beyond == 0 => {
                add(out, self.begin(place), work)?;
                let mode = Mode::Host;
                let host = self.begin(place);
                add(out, State { mode, ..host }, work)?;
            }
            Shape::Nothing | Shape::Dot => add(out, self.begin(place), work)?,
            Shape::TwoDots => {
                let above = self.above(place);
                add(out, self.begin(above), work)?;
            }
            Shape::Other => {}
        }
        self.enter(&state, agreement, out, work)
    }

    fn above(&mut self, mut place: Place) -> Place {
        match place.beyond.checked_sub(1) {
            Some(beyond) => place.beyond = beyond,
            None => place.node = self.tree.parent(place.node),
        }
        let depth = self.tree.depth(place.node);
        place.certain = place.certain.min(depth);
        self.ceiling = self.ceiling.min(depth + place.beyond);
        place
    }

    fn enter(
        &self,
        state: &State,
        agreement: Agreement,
        out: &mut Vec<State>,
        work: &mut Work,
    ) -> Result<(), PathError> {
        let place = state.place;
        if place.beyond > 0 {
            let beyond = place.beyond + 1;
            return add(out, self.begin(Place { beyond, ..place }), work);
        }
        let depth = self.tree.depth(place.node);
        let is_certain = self.is_exact && place.certain == depth;
        let child = |node, is_agreed: bool| Place {
            node,
            beyond: 0,
            certain: place.certain + usize::from(is_certain && is_agreed),
        };
        let literals = &self.tree.forms(place.node)[state.low..state.high];
        let mut is_literal = false;
        for (_, node) in literals
            .iter()
            .take_while(|(it, _)| it.len() == state.length && state.length > 0)
        {
            is_literal = true;
            let place = child(*node, agreement == Agreement::Text);
            add(out, self.begin(place), work)?;
        }
        if let Some(node) = self.tree.any(place.node) {
            let place = child(node, agreement != Agreement::Nothing);
            add(out, self.begin(place), work)?;
        } else if !(is_literal && agreement == Agreement::Text) {
            let beyond = 1;
            add(out, self.begin(Place { beyond, ..place }), work)?;
        }
        Ok(())
    }

    /// The path may end here.
    fn end_early(&mut self, state: State, work: &mut Work) -> Result<(), PathError> {
        let depth = self.tree.depth(state.place.node);
        self.ceiling = self.ceiling.min(depth);
        let mut ends = Vec::new();
        self.end(state, Agreement::Nothing, &mut ends, work)?;
        for end in ends {
            work.spend(1 + self.early_ends.len() / 8)?;
            if !self.early_ends.contains(&end.place) {
                self.early_ends.push(end.place);
            }
        }
        Ok(())
    }

    /// The routes that the path may match, if it ends in these states.
    pub(super) fn matches(
        self,
        states: &[State],
        work: &mut Work,
    ) -> Result<Vec<Match>, PathError> {
        let mut matches = Vec::new();
        let is_one_end = self.is_exact && self.early_ends.is_empty();
        let places = states.iter().map(|state| state.place);
        for place in places.chain(self.early_ends.iter().copied()) {
            let certain = place.certain.min(self.ceiling);
            let mut node = place.node;
            loop {
                let depth = self.tree.depth(node);
                let (open, exact) = self.tree.routes(node);
                let is_end = node == place.node && place.beyond == 0;
                let exact = exact.iter().filter(|_| is_end);
                let exact = exact.map(|route| (*route, is_one_end && depth <= certain));
                let open = open.iter().map(|route| (*route, depth <= certain));
                matches.extend(
                    open.chain(exact)
                        .map(|(route, certain)| Match { route, certain }),
                );
                work.spend(1)?;
                if node == 0 {
                    break;
                }
                node = self.tree.parent(node);
            }
        }
        work.spend(matches.len())?;
        Ok(in_order(matches))
    }
}

/// States whose text no longer matters are equal.
fn decided(mut state: State) -> State {
    if state.is_decided() {
        (state.low, state.high, state.length) = (0, 0, 0);
    }
    state
}
