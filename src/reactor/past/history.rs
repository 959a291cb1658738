//! The newest blocks, oldest first, bounded by size and by age.
//!
//! Every reactor keeps its own list of pointers to the same blocks. Appending costs a push; what is
//! too much is let go of at the front.
//!
//! Beside them stand the blocks that this host has delivered alone, while it was cut off from others
//! (docs/cluster.md): until they have a place among the rest they come behind it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::event::{Block, Mark, Naming, Position};
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
    /// What this host has delivered alone, and has no place among the blocks yet, oldest first.
    alone: VecDeque<Arc<Block>>,
    /// What the id of the newest event ended in that those were sent who are not held back.
    height: u64,
    /// The newest batch of each host that has come, where several act as one.
    batches: HashMap<u64, u64>,
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
            alone: VecDeque::new(),
            height: 0,
            batches: HashMap::new(),
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
    /// kept before is forgotten, but for what this host has delivered alone.
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

    /// Appends the next block, which all are sent who are not held back.
    pub fn push(&mut self, block: &Arc<Block>) {
        self.height = block.height();
        self.append(block);
    }

    /// Appends the next block, which they have been sent before.
    pub fn append(&mut self, block: &Arc<Block>) {
        if block.naming == Naming::Alone {
            return self.alone.push_back(Arc::clone(block));
        }
        if let Some(origin) = &block.origin {
            self.batches.insert(origin.host, origin.batch);
        }
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

    /// What this host has delivered alone has come in the common order up to this batch, or never will.
    pub fn settle_alone(&mut self, batch: u64) {
        let is_settled = |block: &mut Arc<Block>| batch_of(block) <= batch;
        while self.alone.pop_front_if(is_settled).is_some() {}
    }

    /// What everybody has had beside the common order who is not held back.
    pub fn mark(&self) -> Option<Mark> {
        self.alone.back()?.last_mark()
    }

    /// What the id of the newest event ends in for them.
    pub fn height(&self) -> u64 {
        self.height.max(self.newest)
    }

    /// Where those stand who are not held back.
    pub fn position(&self) -> Position {
        Position {
            number: self.newest,
            marks: self.mark().into_iter().collect(),
            height: self.height(),
        }
    }

    /// Whether all that was had by this mark has come in the common order.
    pub fn has(&self, mark: &Mark) -> bool {
        let newest = self.batches.get(&mark.host);
        newest.is_some_and(|&batch| batch >= mark.batch)
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

    /// The blocks that this host has delivered alone, from this batch on, oldest first.
    pub fn alone(
        &self,
        from_batch: u64,
    ) -> impl DoubleEndedIterator<Item = &Arc<Block>> + ExactSizeIterator {
        let first = self
            .alone
            .partition_point(|block| batch_of(block) < from_batch);
        self.alone.range(first..)
    }
}

/// Which of its host's batches a block was; 0 where none act as one.
pub(super) fn batch_of(block: &Block) -> u64 {
    block.origin.as_ref().map_or(0, |origin| origin.batch)
}
