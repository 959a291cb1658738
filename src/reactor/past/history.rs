//! The newest blocks, oldest first, bounded by size and by age.
//!
//! Every reactor keeps its own list of pointers to the same blocks. Appending costs a push; what is
//! too much is let go of at the front.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::Block;
use crate::limits;

/// The kept part of the stream of events, which ends at the newest event that the reactor knows.
pub struct History {
    blocks: VecDeque<Arc<Block>>,
    /// What the blocks weigh together, in bytes.
    weight: usize,
    /// Events in them.
    events: usize,
    /// As much as this is kept, and at most one block more.
    weight_kept: usize,
    age_kept: Duration,
    /// The number of the newest event that was let go of; 0 while there is none.
    let_go: u64,
    /// The number of the newest event, kept or not; 0 before the first.
    newest: u64,
    swept: Option<Instant>,
}

impl History {
    /// An empty history that keeps at least so many bytes, none longer than `age_kept`. Where one
    /// of them is zero, it keeps nothing.
    pub fn new(weight_kept: usize, age_kept: Duration) -> Self {
        Self {
            blocks: VecDeque::new(),
            weight: 0,
            events: 0,
            weight_kept,
            age_kept,
            let_go: 0,
            newest: 0,
            swept: None,
        }
    }

    /// Begins behind the event `newest`, with those of earlier runs that are still kept.
    pub fn go_on(&mut self, newest: u64, blocks: impl IntoIterator<Item = Arc<Block>>) {
        (self.newest, self.let_go) = (newest, newest);
        for (index, block) in blocks.into_iter().enumerate() {
            if index == 0 {
                self.let_go = block.first_id() - 1;
            }
            self.push(&block);
        }
        self.newest = newest;
    }

    /// Begins behind the event `newest`, with `blocks`, which are all there is behind `let_go`. What was
    /// kept before is forgotten.
    pub fn begin_anew(&mut self, newest: u64, let_go: u64, blocks: &[Arc<Block>]) {
        self.blocks.clear();
        (self.weight, self.events) = (0, 0);
        self.let_go = let_go;
        for block in blocks {
            self.push(block);
        }
        self.newest = newest;
    }

    /// Whether anything is kept at all.
    pub fn is_on(&self) -> bool {
        self.weight_kept > 0 && !self.age_kept.is_zero()
    }

    /// The number of the newest event, kept or not: where those who are not held back stand.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The number of the newest event that was let go of; 0 while there is none.
    pub fn let_go(&self) -> u64 {
        self.let_go
    }

    /// Events kept.
    pub fn events(&self) -> usize {
        self.events
    }

    /// What they weigh, in bytes.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Appends the next block.
    pub fn push(&mut self, block: &Arc<Block>) {
        self.newest = block.last_id();
        if !self.is_on() {
            self.let_go = self.newest;
            return;
        }
        self.weight += block.weight();
        self.events += block.frames.len();
        self.blocks.push_back(Arc::clone(block));
        while let Some(front) = self.blocks.front()
            && self.weight - front.weight() >= self.weight_kept
        {
            self.pop();
        }
    }

    /// Lets go of what is too old at `now`.
    pub fn sweep(&mut self, now: Instant) {
        self.swept = Some(now);
        while let Some(front) = self.blocks.front()
            && now.saturating_duration_since(front.received) > self.age_kept
        {
            self.pop();
        }
    }

    /// When to sweep, if nothing happens before.
    pub fn sweep_due(&self) -> Option<Instant> {
        let front = self.blocks.front()?;
        let too_old = front.received + self.age_kept + limits::TICK;
        let again = self.swept.map(|swept| swept + limits::HISTORY_SWEEP);
        Some(again.map_or(too_old, |again| again.max(too_old)))
    }

    fn pop(&mut self) {
        if let Some(block) = self.blocks.pop_front() {
            self.weight -= block.weight();
            self.events -= block.frames.len();
            self.let_go = block.last_id();
        }
    }

    /// All kept blocks, oldest first.
    pub fn blocks(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.iter()
    }

    /// The kept blocks that hold events after `id`, oldest first; the first may begin before it.
    pub fn after(&self, id: u64) -> impl Iterator<Item = &Arc<Block>> {
        let first = self.blocks.partition_point(|block| block.last_id() <= id);
        self.blocks.range(first..)
    }

    /// The kept blocks that hold events before `id`, newest first; the first may end after it.
    pub fn before(&self, id: u64) -> impl Iterator<Item = &Arc<Block>> {
        let end = self.blocks.partition_point(|block| block.first_id() < id);
        self.blocks.range(..end).rev()
    }
}
