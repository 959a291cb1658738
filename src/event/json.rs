//! One line of JSON, read by simd-json into a flat tape, with what simd-json leaves open: duplicate
//! keys, and where a value lies in the original bytes.
//!
//! Owned by the parser. simd-json rewrites what it reads, so it gets a copy of the line in a
//! scratch buffer; structural offsets are the same in both, which leads from a key's address in the
//! scratch to its value's bytes in the line.

use std::ops::Range;

use simd_json::{Buffers, ErrorType, INPUT_PADDING, Node, Tape, fill_tape_padded};

use super::refusal::{Code, Refusal, shortened};

/// Levels of nesting a line may have, its outer object included.
const DEPTH_MAX: usize = 32;

/// Objects with up to this many keys are compared key by key where two keys look alike; larger
/// ones are sorted, so that hostile keys cost no square of their number.
const FEW_KEYS: usize = 24;

/// Tape nodes and structural offsets kept between lines (about 2 MB); one huge line must not hold
/// its memory for ever.
const KEPT_NODES: usize = 1 << 16;

/// The memory one line is read in, used again for the next.
pub(super) struct Workspace {
    /// A copy of the line, then what is left of longer ones: simd-json reads beyond the end.
    scratch: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
    keys: Vec<u32>,
}

/// What whoever judged a document can say about the keys of its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// Saw all of them: no object has one twice.
    Distinct,
    /// Did not look at all of them.
    Unchecked,
}

/// A line that is one whole JSON value; an object without duplicate keys once it was judged.
#[derive(Clone, Copy)]
pub(super) struct Document<'t, 'a> {
    nodes: &'t [Node<'a>],
    structurals: &'t [u32],
    /// Address of the scratch copy's first byte, to find keys' offsets by.
    base: usize,
}

impl Workspace {
    pub(super) fn new() -> Workspace {
        Workspace {
            scratch: Vec::new(),
            buffers: new_buffers(),
            tape: Tape(Vec::new()),
            keys: Vec::new(),
        }
    }

    /// Reads `line` and hands the document to `judge`, whose answer may keep strings of it, and stands
    /// only if the line is an object without duplicate keys: those are looked for unless `judge` did.
    pub(super) fn read<'a, T>(
        &'a mut self,
        line: &[u8],
        judge: impl FnOnce(Document<'_, 'a>) -> Result<(T, Keys), Refusal>,
    ) -> Result<T, Refusal> {
        self.let_go_of_the_huge();
        let Workspace {
            scratch,
            buffers,
            tape: kept,
            keys,
        } = self;
        if scratch.len() < line.len() + INPUT_PADDING {
            scratch.resize(line.len() + INPUT_PADDING, 0);
        }
        let padded = &mut scratch[..line.len() + INPUT_PADDING];
        padded[..line.len()].copy_from_slice(line);
        let base = padded.as_ptr().addr();

        let mut tape: Tape<'a> = std::mem::replace(kept, Tape(Vec::new())).reset();
        let outcome = match fill_tape_padded(padded, line.len(), buffers, &mut tape) {
            Ok(()) => {
                let document = Document {
                    nodes: &tape.0,
                    structurals: buffers.structural_indexes(),
                    base,
                };
                match judge(document) {
                    Ok((answer, Keys::Distinct)) => Ok(answer),
                    judged => document.check(keys).and(judged).map(|(answer, _)| answer),
                }
            }
            Err(error) => Err(refuse(&error)),
        };
        *kept = tape.reset();
        outcome
    }

    fn let_go_of_the_huge(&mut self) {
        if self.tape.0.capacity() > KEPT_NODES || self.keys.capacity() > KEPT_NODES {
            self.tape = Tape(Vec::new());
            self.keys = Vec::new();
            self.scratch = Vec::new();
            self.buffers = new_buffers();
        }
    }
}

impl<'t, 'a> Document<'t, 'a> {
    /// The index of the outer object.
    pub(super) const ROOT: usize = 0;

    /// The node at `at`.
    pub(super) fn node(self, at: usize) -> Node<'a> {
        self.nodes[at]
    }

    /// The string at `at`, unescaped, if it is one.
    pub(super) fn string(self, at: usize) -> Option<&'a str> {
        #[cfg(test)]
        tests::LOOKS.set(tests::LOOKS.get() + 1);
        match self.nodes[at] {
            Node::String(text) => Some(text),
            _ => None,
        }
    }

    /// How many members the object at `at` has; 0 if it is no object.
    pub(super) fn len(self, at: usize) -> usize {
        match self.nodes[at] {
            Node::Object { len, .. } => len,
            _ => 0,
        }
    }

    /// Whether the object at `at` has neither objects nor lists in it.
    pub(super) fn is_flat(self, at: usize) -> bool {
        matches!(self.nodes[at], Node::Object { len, count } if count == 2 * len)
    }

    /// The keys of the object at `at`, each with its value's index; nothing if it is no object.
    pub(super) fn members(self, at: usize) -> impl Iterator<Item = (&'a str, usize)> {
        let mut next = at + 1;
        (0..self.len(at)).map_while(move |_| {
            let key = self.string(next)?;
            let value = next + 1;
            next = value + self.size(value);
            Some((key, value))
        })
    }

    /// The indexes of the elements of the array at `at`, if it is one.
    pub(super) fn elements(self, at: usize) -> Option<impl ExactSizeIterator<Item = usize>> {
        let Node::Array { len, .. } = self.nodes[at] else {
            return None;
        };
        let mut next = at + 1;
        Some((0..len).map(move |_| {
            let element = next;
            next += self.size(element);
            element
        }))
    }

    /// Where the object that is the value of the outer object's key `key` lies in the line, braces
    /// included. `following` is the key after it, if it is not the last.
    pub(super) fn object_span(self, key: &'a str, following: Option<&'a str>) -> Range<usize> {
        // Structural characters around it: quote of the key, colon, brace … brace, then a comma
        // and the quote of the next key, or the outer closing brace.
        let open = self.structural_of(key) + 2;
        let close = match following {
            Some(key) => self.structural_of(key) - 2,
            None => self.structurals.len() - 2,
        };
        self.structurals[open] as usize..self.structurals[close] as usize + 1
    }

    /// The number of the structural character that is the opening quote of `key`.
    fn structural_of(self, key: &'a str) -> usize {
        let quote = key.as_ptr().addr() - self.base - 1;
        self.structurals
            .partition_point(|&offset| (offset as usize) < quote)
    }

    /// How many nodes the value at `at` takes, itself included.
    fn size(self, at: usize) -> usize {
        match self.nodes[at] {
            Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
            Node::String(_) | Node::Static(_) => 1,
        }
    }

    /// Refuses what is no object, and an object at any depth that has a key twice.
    fn check(self, keys: &mut Vec<u32>) -> Result<(), Refusal> {
        if !matches!(self.nodes[Self::ROOT], Node::Object { .. }) {
            return Err(Refusal::whole(
                Code::InvalidJson,
                "the line is JSON but not an object: a line has to be one object {…}",
            ));
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let duplicate = match node {
                Node::Object {
                    len: 2..=FEW_KEYS, ..
                } => self.duplicate_of_few(at),
                Node::Object { len: 0 | 1, .. } => None,
                Node::Object { .. } => self.duplicate_of_many(at, keys),
                _ => None,
            };
            if let Some(key) = duplicate {
                return Err(Refusal::whole(
                    Code::InvalidJson,
                    format!(
                        "the key \"{}\" stands twice in one object, each key may stand once",
                        shortened(key)
                    ),
                ));
            }
        }
        Ok(())
    }

    fn duplicate_of_few(self, at: usize) -> Option<&'a str> {
        let mut seen = KeyFilter::default();
        for (number, (key, _)) in self.members(at).enumerate() {
            if !seen.is_new(key)
                && self
                    .members(at)
                    .take(number)
                    .any(|(earlier, _)| earlier == key)
            {
                return Some(key);
            }
        }
        None
    }

    fn duplicate_of_many(self, at: usize, keys: &mut Vec<u32>) -> Option<&'a str> {
        let key = |at: u32| self.string(at as usize).unwrap_or_default();
        keys.clear();
        // A line is shorter than 4 GiB, and so is its tape.
        keys.extend(self.members(at).map(|(_, value)| value as u32 - 1));
        keys.sort_unstable_by(|&a, &b| key(a).cmp(key(b)));
        keys.windows(2)
            .find(|pair| key(pair[0]) == key(pair[1]))
            .map(|pair| key(pair[0]))
    }
}

fn new_buffers() -> Buffers {
    Buffers::with_max_depth(0, DEPTH_MAX)
}

/// Tells keys apart by one word, most of them.
#[derive(Default)]
pub(super) struct KeyFilter(u64);

impl KeyFilter {
    /// False if `key` was perhaps given before; true if it certainly was not.
    pub(super) fn is_new(&mut self, key: &str) -> bool {
        let fingerprint = match key.as_bytes() {
            [] => 0,
            [first, .., last] => key.len() + 7 * usize::from(*first) + 31 * usize::from(*last),
            [only] => usize::from(*only),
        };
        let bit = 1 << (fingerprint % 64);
        let is_new = self.0 & bit == 0;
        self.0 |= bit;
        is_new
    }
}

fn refuse(error: &simd_json::Error) -> Refusal {
    let message = match error.error() {
        ErrorType::InvalidUtf8 => "the line is not valid UTF-8".to_owned(),
        ErrorType::InvalidUnicodeCodepoint => {
            "a \\u escape is not four hexadecimal digits, or is half of a surrogate pair".to_owned()
        }
        ErrorType::InvalidEscape => {
            "a string has a backslash escape that JSON does not have".to_owned()
        }
        ErrorType::InvalidNumber => {
            "a number is not written as JSON has it, or is out of a double's range".to_owned()
        }
        ErrorType::DepthLimitExceeded => {
            format!("the line is nested deeper than {DEPTH_MAX} levels, its outer object counted")
        }
        _ if error.character().is_some() => format!(
            "the line is not one whole JSON object: it breaks at byte {}",
            error.index()
        ),
        _ => "the line is not one whole JSON object".to_owned(),
    };
    Refusal::whole(Code::InvalidJson, message)
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
