//! Gives every event its id: unique across restarts, because the start is in it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::ingest::milliseconds_now;

pub struct EventIds {
    start: u128,
    last: AtomicU64,
}

impl EventIds {
    pub fn new() -> Self {
        Self {
            start: milliseconds_now(),
            last: AtomicU64::new(0),
        }
    }

    pub fn next(&self) -> String {
        self.id(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub fn newest(&self) -> String {
        self.id(self.last.load(Ordering::Relaxed))
    }

    fn id(&self, number: u64) -> String {
        format!("{:x}-{number}", self.start)
    }
}
