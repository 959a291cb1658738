//! Names (user ids, session ids) interned to small numbers, each with the connections that bear it.
//!
//! Owned by the directory: one table for users, one for sessions. A name lives while a connection
//! bears it. Look-ups take the hash that the router computed once for all reactors.

use compact_str::CompactString;
use hashbrown::HashTable;
use slab::Slab;

use crate::event::NameHasher;

/// A table of names in use.
pub struct Names {
    hasher: NameHasher,
    index: HashTable<u32>,
    entries: Slab<Entry>,
    /// The frame that [`Names::is_excluded`] is about; 0 for none yet.
    frame: u32,
}

/// There are as many as connections, so it is small: names of up to 24 bytes, which most are, lie in
/// it.
struct Entry {
    text: CompactString,
    members: Members,
    /// Connections among the members that count for presence.
    customers: u32,
    /// The last frame that excluded this name.
    excluded_by: u32,
}

/// Nearly every name has one connection: that one needs no list.
enum Members {
    One(u32),
    #[allow(
        clippy::box_collection,
        reason = "the rare case must not make the usual one larger"
    )]
    Many(Box<Vec<u32>>),
}

impl Names {
    /// An empty table. `hasher` is the one whose hashes it will be asked by.
    pub fn new(hasher: NameHasher) -> Self {
        Self {
            hasher,
            index: HashTable::new(),
            entries: Slab::new(),
            frame: 0,
        }
    }

    /// Notes that connection `key` bears the name; returns the name's number.
    pub fn join(&mut self, text: &str, key: u32) -> u32 {
        let hash = self.hasher.hash(text);
        if let Some(name) = self.find(text, hash) {
            self.entries[name as usize].members.add(key);
            return name;
        }
        let entry = Entry {
            text: text.into(),
            members: Members::One(key),
            customers: 0,
            excluded_by: 0,
        };
        // Far fewer names than connections, and those are bounded by the files of a process.
        let name = self.entries.insert(entry) as u32;
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.insert_unique(hash, name, |&other| {
            hasher.hash(&entries[other as usize].text)
        });
        name
    }

    /// Notes that connection `key` no longer bears the name; forgets a name nobody bears.
    pub fn leave(&mut self, name: u32, key: u32) {
        let entry = &mut self.entries[name as usize];
        if entry.members.remove(key) {
            return;
        }
        let hash = self.hasher.hash(&entry.text);
        if let Ok(found) = self.index.find_entry(hash, |&other| other == name) {
            found.remove();
        }
        self.entries.remove(name as usize);
    }

    /// The number of a name in use.
    pub fn find(&self, text: &str, hash: u64) -> Option<u32> {
        self.index
            .find(hash, |&name| self.entries[name as usize].text == text)
            .copied()
    }

    /// The connections that bear the name.
    pub fn members(&self, name: u32) -> &[u32] {
        match &self.entries[name as usize].members {
            Members::One(key) => std::slice::from_ref(key),
            Members::Many(keys) => keys,
        }
    }

    /// The name itself.
    pub fn text(&self, name: u32) -> &str {
        &self.entries[name as usize].text
    }

    /// The name itself, and its hash.
    pub fn hashed(&self, name: u32) -> (&str, u64) {
        let text = self.text(name);
        (text, self.hasher.hash(text))
    }

    /// One more connection of this name counts for presence. True: it is the first.
    pub fn add_customer(&mut self, name: u32) -> bool {
        let customers = &mut self.entries[name as usize].customers;
        *customers += 1;
        *customers == 1
    }

    /// Connections of this name that count for presence.
    pub fn customers(&self, name: u32) -> u32 {
        self.entries[name as usize].customers
    }

    /// One fewer. True: it was the last.
    pub fn remove_customer(&mut self, name: u32) -> bool {
        let customers = &mut self.entries[name as usize].customers;
        *customers -= 1;
        *customers == 0
    }

    /// The planner comes to the next frame: nobody is excluded from it yet.
    pub fn begin_frame(&mut self) {
        self.frame = self.frame.wrapping_add(1);
        if self.frame == 0 {
            // Once in 4 billion frames the marks of the last round would count again.
            for (_, entry) in &mut self.entries {
                entry.excluded_by = 0;
            }
            self.frame = 1;
        }
    }

    /// Marks the name as excluded from this frame.
    pub fn exclude(&mut self, name: u32) {
        self.entries[name as usize].excluded_by = self.frame;
    }

    /// Whether the name is excluded from this frame.
    pub fn is_excluded(&self, name: u32) -> bool {
        self.entries[name as usize].excluded_by == self.frame
    }
}

impl Members {
    fn add(&mut self, key: u32) {
        match self {
            Self::One(first) => *self = Self::Many(Box::new(vec![*first, key])),
            Self::Many(keys) => keys.push(key),
        }
    }

    /// Takes a member out; false if none is left.
    fn remove(&mut self, key: u32) -> bool {
        match self {
            Self::One(only) => *only != key,
            Self::Many(keys) => {
                keys.retain(|&other| other != key);
                if let [only] = keys[..] {
                    *self = Self::One(only);
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new(NameHasher::default())
    }

    #[test]
    fn a_name_lives_while_somebody_bears_it() {
        let mut names = names();
        let anna = names.join("anna", 10);
        let bert = names.join("bert", 20);
        assert_ne!(anna, bert);
        assert_eq!(names.join("anna", 11), anna);
        assert_eq!(names.join("anna", 12), anna);
        assert_eq!(names.members(anna), [10, 11, 12]);
        names.leave(anna, 11);
        names.leave(anna, 10);
        assert_eq!(names.members(anna), [12]);
        names.leave(anna, 12);
        let hash = |name: &str| names.hasher.hash(name);
        assert_eq!(names.find("anna", hash("anna")), None);
        assert_eq!(names.find("bert", hash("bert")), Some(bert));
        assert_eq!(names.text(bert), "bert");
        let of_equal_hash = names.find("cleo", hash("bert"));
        assert_eq!(of_equal_hash, None);
    }

    #[test]
    fn names_are_found_while_the_table_grows_however_long_they_are() {
        let mut names = names();
        let text = |number: u32| format!("user-{number}-{}", "x".repeat(number as usize % 50));
        let numbers: Vec<u32> = (0..1000).map(|key| names.join(&text(key), key)).collect();
        for (key, &number) in numbers.iter().enumerate() {
            let name = text(key as u32);
            assert_eq!(names.find(&name, names.hasher.hash(&name)), Some(number));
            assert_eq!(names.members(number), [key as u32]);
        }
    }

    #[test]
    fn an_exclusion_is_for_one_frame_even_when_the_count_begins_again() {
        let mut names = names();
        let anna = names.join("anna", 1);
        names.begin_frame();
        names.exclude(anna);
        assert!(names.is_excluded(anna));
        names.begin_frame();
        assert!(!names.is_excluded(anna));
        names.frame = u32::MAX;
        names.exclude(anna);
        names.begin_frame();
        assert!(!names.is_excluded(anna));
        names.exclude(anna);
        assert!(names.is_excluded(anna));
    }

    /// The sum in `limits.rs` counts on it.
    #[test]
    fn an_entry_is_small() {
        let size = std::mem::size_of::<Entry>();
        assert!(size <= 48, "{size}");
    }
}
