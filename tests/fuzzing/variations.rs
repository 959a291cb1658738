//! Seeds with some bytes changed, taken out, put in, or taken from another seed or the dictionary.

use std::fs;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use crate::properties::target;
use crate::{folder, seeds};

/// Edits of one input, at most.
const EDITS_MAX: usize = 6;
/// Bytes that one edit takes out or copies, at most.
const PIECE_MAX: usize = 40;

#[derive(Clone, Debug)]
enum Edit {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Word(Index, Index),
    Remove(Index, usize),
    /// Copies from another seed: which, from where, how much, to where.
    Splice(Index, Index, usize, Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<Index>;
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (index(), prop::collection::vec(any::<u8>(), 1..4))
            .prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (index(), index()).prop_map(|(at, word)| Edit::Word(at, word)),
        (index(), 1..PIECE_MAX).prop_map(|(at, len)| Edit::Remove(at, len)),
        (index(), index(), 1..PIECE_MAX, index())
            .prop_map(|(seed, from, len, at)| Edit::Splice(seed, from, len, at)),
    ]
}

/// What inputs are made of.
struct Material {
    seeds: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Material {
    fn of(name: &str) -> Material {
        let dictionary = folder().join("dictionaries").join(format!("{name}.dict"));
        let dictionary = fs::read_to_string(dictionary).unwrap_or_default();
        let seeds = seeds::of(name).into_iter();
        let mut words: Vec<Vec<u8>> = dictionary.lines().filter_map(word).collect();
        words.extend([vec![0], vec![0xFF; 4], b"\"".to_vec()]);
        Material {
            seeds: seeds.map(|(_, seed)| seed).collect(),
            words,
        }
    }

    fn vary(&self, seed: Index, edits: &[Edit]) -> Vec<u8> {
        let mut input = seed.get(&self.seeds).clone();
        for edit in edits {
            let place = |at: &Index, len: usize| at.index(len + 1);
            match edit {
                Edit::Set(at, byte) => {
                    let at = place(at, input.len());
                    input.splice(at..input.len().min(at + 1), [*byte]);
                }
                Edit::Insert(at, bytes) => {
                    let at = place(at, input.len());
                    input.splice(at..at, bytes.iter().copied());
                }
                Edit::Word(at, word) => {
                    let at = place(at, input.len());
                    input.splice(at..at, word.get(&self.words).iter().copied());
                }
                Edit::Remove(at, len) => {
                    let at = place(at, input.len());
                    input.drain(at..input.len().min(at + len));
                }
                Edit::Splice(other, from, len, at) => {
                    let other = other.get(&self.seeds);
                    let from = place(from, other.len());
                    let piece = &other[from..other.len().min(from + len)];
                    let at = place(at, input.len());
                    input.splice(at..at, piece.iter().copied());
                }
            }
        }
        input
    }
}

/// A word of a dictionary in libFuzzer's form: `name="text\x00"`.
fn word(line: &str) -> Option<Vec<u8>> {
    let (_, quoted) = line.split_once('"')?;
    let mut text = quoted.strip_suffix('"')?.bytes();
    let mut word = Vec::new();
    while let Some(byte) = text.next() {
        word.push(match byte {
            b'\\' => match text.next()? {
                b'x' => {
                    let digits = [text.next()?, text.next()?];
                    let digits = std::str::from_utf8(&digits).ok()?.to_owned();
                    u8::from_str_radix(&digits, 16).ok()?
                }
                escaped => escaped,
            },
            byte => byte,
        });
    }
    Some(word)
}

/// Tries a bounded number of variations of a target's seeds.
pub fn hold(name: &str) {
    let target = target(name);
    let material = Material::of(name);
    let config = Config {
        cases: target.cases,
        failure_persistence: None,
        ..Config::default()
    };
    // The same variations each time: what is new is for the fuzzer to find, not for somebody's change.
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let inputs = (any::<Index>(), prop::collection::vec(edit(), 0..EDITS_MAX));
    let tried = runner.run(&inputs, |(seed, edits)| {
        (target.holds)(&material.vary(seed, &edits));
        Ok(())
    });
    if let Err(TestError::Fail(reason, (seed, edits))) = tried {
        let input = material.vary(seed, &edits);
        panic!(
            "{name}: {reason}; the input is b\"{}\"",
            input.escape_ascii()
        );
    }
    tried.unwrap();
}
