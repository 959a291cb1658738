//! JSON as the contract has it, read slowly: serde_json, and on top of it a visitor that refuses a key
//! that stands twice and nesting over 32 levels.
//!
//! The reference that the server's own way of reading, a flat tape from simd-json, is held against.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// Levels of nesting a document may have, its outermost value included.
const DEPTH_MAX: usize = 32;

/// A JSON value whose objects keep their members in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// Reads a document that is one whole value.
pub fn read(bytes: &[u8]) -> Result<Tree, serde_json::Error> {
    read_by(
        bytes,
        Level {
            depth: 1,
            is_strict: true,
        },
    )
}

/// Reads any JSON that serde_json takes: a key may stand twice, and be nested deeper.
pub fn read_loosely(bytes: &[u8]) -> Result<Tree, serde_json::Error> {
    read_by(
        bytes,
        Level {
            depth: 1,
            is_strict: false,
        },
    )
}

fn read_by(bytes: &[u8], level: Level) -> Result<Tree, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let tree = level.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(tree)
}

impl Tree {
    /// The members of an object.
    pub fn members(&self) -> Option<&[(String, Tree)]> {
        match self {
            Tree::Object(members) => Some(members),
            _ => None,
        }
    }

    /// How often an object has a member of this name.
    pub fn count(&self, name: &str) -> usize {
        let members = self.members().unwrap_or_default();
        members.iter().filter(|(key, _)| key == name).count()
    }

    /// The value of an object's member.
    pub fn get(&self, name: &str) -> Option<&Tree> {
        let (_, value) = self.members()?.iter().find(|(key, _)| key == name)?;
        Some(value)
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Tree::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Tree::Number(number) => number.as_f64(),
            _ => None,
        }
    }
}

/// Reads a value on this level of nesting.
#[derive(Clone, Copy)]
struct Level {
    depth: usize,
    is_strict: bool,
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Level {
    /// The level of what a list or object on this one holds, be it empty or not.
    fn below<E: Error>(self) -> Result<Level, E> {
        if self.is_strict && self.depth > DEPTH_MAX {
            return Err(E::custom("nested too deeply"));
        }
        Ok(Level {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Tree, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not finite"))?;
        Ok(Tree::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Tree, A::Error> {
        let below = self.below()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(below)? {
            array.push(element);
        }
        Ok(Tree::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let below = self.below()?;
        let mut object: Vec<(String, Tree)> = Vec::new();
        while let Some(key) = members.next_key::<String>()? {
            if self.is_strict && object.iter().any(|(earlier, _)| *earlier == key) {
                return Err(A::Error::custom("a key stands twice"));
            }
            object.push((key, members.next_value_seed(below)?));
        }
        Ok(Tree::Object(object))
    }
}
