//! Names (user ids, session ids) interned to small numbers, each with the connections that bear it.
//!
//! Owned by the directory: one table for users, one for sessions. A name lives while a connection
//! bears it. Look-ups take the hash that the router computed once for all reactors.

use hashbrown::HashTable;
use slab::Slab;

/// A table of names in use.
#[derive(Default)]
pub struct Names {
    index: HashTable<u32>,
    entries: Slab<Entry>,
}

struct Entry {
    hash: u64,
    text: Box<str>,
    members: Members,
    /// Connections among the members that count for presence.
    customers: u32,
    /// The last frame that excluded this name, by the planner's own count.
    excluded_by: u64,
}

/// Nearly every name has one connection: that one needs no list.
enum Members {
    One(u32),
    Many(Vec<u32>),
}

impl Names {
    /// Notes that connection `key` bears the name; returns the name's number.
    pub fn join(&mut self, text: &str, hash: u64, key: u32) -> u32 {
        if let Some(name) = self.find(text, hash) {
            self.entries[name as usize].members.add(key);
            return name;
        }
        let entry = Entry {
            hash,
            text: text.into(),
            members: Members::One(key),
            customers: 0,
            excluded_by: 0,
        };
        // Far fewer names than connections, and those are bounded by the files of a process.
        let name = self.entries.insert(entry) as u32;
        let entries = &self.entries;
        self.index
            .insert_unique(hash, name, |&other| entries[other as usize].hash);
        name
    }

    /// Notes that connection `key` no longer bears the name; forgets a name nobody bears.
    pub fn leave(&mut self, name: u32, key: u32) {
        let entry = &mut self.entries[name as usize];
        if entry.members.remove(key) {
            return;
        }
        let hash = entry.hash;
        if let Ok(found) = self.index.find_entry(hash, |&other| other == name) {
            found.remove();
        }
        self.entries.remove(name as usize);
    }

    /// The number of a name in use.
    pub fn find(&self, text: &str, hash: u64) -> Option<u32> {
        self.index
            .find(hash, |&name| {
                let entry = &self.entries[name as usize];
                entry.hash == hash && *entry.text == *text
            })
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
        let entry = &self.entries[name as usize];
        (&entry.text, entry.hash)
    }

    /// One more connection of this name counts for presence. True: it is the first.
    pub fn add_customer(&mut self, name: u32) -> bool {
        let customers = &mut self.entries[name as usize].customers;
        *customers += 1;
        *customers == 1
    }

    /// One fewer. True: it was the last.
    pub fn remove_customer(&mut self, name: u32) -> bool {
        let customers = &mut self.entries[name as usize].customers;
        *customers -= 1;
        *customers == 0
    }

    /// Marks the name as excluded from the frame with this (never repeated) stamp.
    pub fn exclude(&mut self, name: u32, stamp: u64) {
        self.entries[name as usize].excluded_by = stamp;
    }

    /// Whether the name is excluded from that frame.
    pub fn is_excluded(&self, name: u32, stamp: u64) -> bool {
        self.entries[name as usize].excluded_by == stamp
    }
}

impl Members {
    fn add(&mut self, key: u32) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, key]),
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

    #[test]
    fn a_name_lives_while_somebody_bears_it_even_among_equal_hashes() {
        let mut names = Names::default();
        let anna = names.join("anna", 1, 10);
        let bert = names.join("bert", 1, 20);
        assert_ne!(anna, bert);
        assert_eq!(names.join("anna", 1, 11), anna);
        assert_eq!(names.join("anna", 1, 12), anna);
        assert_eq!(names.members(anna), [10, 11, 12]);
        names.leave(anna, 11);
        names.leave(anna, 10);
        assert_eq!(names.members(anna), [12]);
        names.leave(anna, 12);
        assert_eq!(names.find("anna", 1), None);
        assert_eq!(names.find("bert", 1), Some(bert));
        assert_eq!(names.text(bert), "bert");
    }
}
