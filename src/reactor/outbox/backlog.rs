//! What all outboxes of one reactor hold in memory together.
//!
//! Owned by the reactor; the outboxes count themselves in and out. A source (a block's frames, or a
//! batch laid out for a class) that outboxes share counts once and whole, however many of them hold
//! a part of it: that is what it costs. So a thousand readers that stall on the same events cost
//! little more than one, and a short slice that keeps a long block counts as that block.

use bytes::Bytes;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// The sums.
#[derive(Default)]
pub struct Backlog {
    /// By the address of its first byte: who holds it keeps it there.
    sources: HashMap<usize, Source>,
    /// Bytes of all sources.
    shared: usize,
    /// Bytes that the outboxes hold each alone.
    own: usize,
    conflated: u64,
}

struct Source {
    /// Bytes of it.
    size: usize,
    /// Pieces that are a part of it.
    holders: usize,
}

impl Backlog {
    /// Bytes of memory that all outboxes hold.
    pub fn held(&self) -> usize {
        self.shared + self.own
    }

    /// Events that gave way to newer ones, since the start.
    pub fn conflated(&self) -> u64 {
        self.conflated
    }

    pub(super) fn count_conflated(&mut self, count: usize) {
        self.conflated += count as u64;
    }

    /// One piece more is a part of `source`.
    pub(super) fn share(&mut self, source: &Bytes) {
        let size = source.len();
        match self.sources.entry(source.as_ptr().addr()) {
            Entry::Occupied(mut entry) => entry.get_mut().holders += 1,
            Entry::Vacant(entry) => {
                entry.insert(Source { size, holders: 1 });
                self.shared += size;
            }
        }
    }

    /// One piece less is a part of the source that begins at `address`.
    pub(super) fn unshare(&mut self, address: usize) {
        let Entry::Occupied(mut entry) = self.sources.entry(address) else {
            debug_assert!(false, "only what was shared is let go of");
            return;
        };
        entry.get_mut().holders -= 1;
        if entry.get().holders == 0 {
            self.shared -= entry.remove().size;
        }
    }

    /// A connection's part holds `now` bytes alone, no longer `before`.
    pub fn recount(&mut self, before: usize, now: usize) {
        self.own = self.own - before + now;
    }
}
