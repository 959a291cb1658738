//! One connection's way through the history.
//!
//! Two numbers say what it still gets: the **cursor** (every event up to it is dealt with) and, for
//! each event type, where that type **begins** for this connection. An event is sent if it is behind
//! both and the connection may see it as things are now. So namespaces that were asked for at
//! different times, from different places, come in one stream, in order, each event once.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::History;
use crate::access::TypeMask;
use crate::event::{Block, EventType, Frame};
use crate::limits;
use crate::reactor::directory::{Slice, View};

/// A connection in the middle of its past.
#[derive(Clone, Serialize, Deserialize)]
pub struct Replay {
    cursor: u64,
    /// By event type: it begins behind this number.
    begins: [u64; EventType::ALL.len()],
    /// Searches for beginnings; nothing is sent before they are over. No type waits for two of them.
    seeks: Vec<Seek>,
}

/// A search, backwards, for where the newest so many events begin.
#[derive(Clone, Serialize, Deserialize)]
struct Seek {
    /// The types whose events are counted.
    types: TypeMask,
    /// Those of them whose beginning it still decides; a later request may have.
    decides: TypeMask,
    /// The newest event when this was asked.
    newest: u64,
    /// Everything from this number up to the newest has been looked at.
    seen_from: u64,
    /// Events still to be found.
    left: u32,
}

/// How far a replay came.
#[derive(Debug, PartialEq, Eq)]
pub enum Reached {
    /// The budget is used up.
    Budget,
    /// The newest event there is; what it waits for is on its way through the ring.
    NotYet,
    /// The newest event, and nothing is left before it.
    Newest,
    /// What it had to be sent next is not kept any more.
    Gap,
}

/// Frames to be sent, as ranges of blocks; its buffers are used again.
#[derive(Default)]
pub struct Batch {
    /// The blocks that the slices are of.
    pub blocks: Vec<Arc<Block>>,
    /// Ranges of their bytes, in order; neighbours are joined.
    pub slices: Vec<Slice>,
    /// Frames in the slices.
    pub frames: u64,
}

impl Batch {
    /// Makes it empty.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.slices.clear();
        self.frames = 0;
    }

    fn add(&mut self, block: &Arc<Block>, start: u32, end: u32) {
        self.frames += 1;
        let is_last = |last: &Arc<Block>| Arc::ptr_eq(last, block);
        if !self.blocks.last().is_some_and(is_last) {
            self.blocks.push(Arc::clone(block));
        }
        let number = self.blocks.len() as u32 - 1;
        match self.slices.last_mut() {
            Some(last) if last.block == number && last.end == start => last.end = end,
            _ => self.slices.push(Slice {
                block: number,
                start,
                end,
            }),
        }
    }
}

impl Replay {
    /// A connection that has been dealt with all events up to `position`.
    pub fn at(position: u64) -> Self {
        Self {
            cursor: position,
            begins: [position; EventType::ALL.len()],
            seeks: Vec::new(),
        }
    }

    /// `types` begin behind `id`, whatever was sent of them before; all others go on as they were.
    pub fn rewind(&mut self, types: TypeMask, id: u64) {
        self.decided(types);
        for (kind, begins) in EventType::ALL.into_iter().zip(&mut self.begins) {
            *begins = if types.contains(kind) {
                id
            } else {
                self.cursor.max(*begins)
            };
        }
        self.cursor = self.cursor.min(id);
    }

    /// `types` begin behind `id`, which is not before the cursor.
    pub fn begin(&mut self, types: TypeMask, id: u64) {
        self.decided(types);
        for (kind, begins) in EventType::ALL.into_iter().zip(&mut self.begins) {
            if types.contains(kind) {
                *begins = id;
            }
        }
    }

    /// `types` begin with the newest `count` events of them that the connection may see; these are
    /// looked for, from `newest` backwards, before anything else is sent.
    pub fn seek(&mut self, types: TypeMask, count: u32, newest: u64) {
        self.decided(types);
        self.seeks.push(Seek {
            types,
            decides: types,
            newest,
            seen_from: newest + 1,
            left: count,
        });
    }

    /// No earlier search has a say in where `types` begin.
    fn decided(&mut self, types: TypeMask) {
        self.seeks.retain_mut(|seek| {
            seek.decides = seek.decides.without(types);
            !seek.decides.is_empty()
        });
    }

    /// Behind which event the first one of `types` can come.
    pub fn position(&self, types: TypeMask, history: &History) -> u64 {
        let is_sought = |seek: &Seek| !seek.decides.intersect(types).is_empty();
        if self.seeks.iter().any(is_sought) {
            // Somewhere in what is kept.
            return history.let_go();
        }
        self.stands_at(types)
    }

    fn stands_at(&self, types: TypeMask) -> u64 {
        let all = EventType::ALL.into_iter().zip(self.begins);
        let first = all
            .filter(|(kind, _)| types.contains(*kind))
            .map(|(_, begins)| begins)
            .min();
        self.cursor.max(first.unwrap_or(self.cursor))
    }

    /// Walks on, within `budget` (bytes sent, and what looking costs), and puts what the connection
    /// gets into `batch`.
    pub fn advance(
        &mut self,
        history: &History,
        view: &View<'_>,
        budget: &mut usize,
        batch: &mut Batch,
    ) -> Reached {
        if !self.look_back(history, view, budget) {
            return Reached::Budget;
        }
        // Through what it does not want, or has seen, it need not be led.
        let interest = view.interest();
        let next = match interest {
            none if none.is_empty() => history.newest(),
            some => self.stands_at(some),
        };
        self.cursor = self.cursor.max(next.min(history.newest()));
        if self.cursor < history.let_go() {
            return Reached::Gap;
        }
        for block in history.after(self.cursor) {
            let dealt_with = |frame: &Frame| frame.id <= self.cursor;
            let first = block.frames.partition_point(dealt_with);
            for frame in &block.frames[first..] {
                if *budget == 0 {
                    return Reached::Budget;
                }
                self.cursor = frame.id;
                let mut cost = limits::REPLAY_LOOK + block.name_count(frame);
                if frame.id > self.begins[frame.kind as usize] && view.sees(block, frame) {
                    batch.add(block, frame.start, frame.end);
                    cost += (frame.end - frame.start) as usize;
                }
                *budget = budget.saturating_sub(cost);
            }
        }
        let is_ahead = |kind: &EventType| {
            interest.contains(*kind) && self.begins[*kind as usize] > history.newest()
        };
        if EventType::ALL.iter().any(is_ahead) {
            Reached::NotYet
        } else {
            Reached::Newest
        }
    }

    /// Goes on with the searches, if there are any. False: the budget was used up first.
    fn look_back(&mut self, history: &History, view: &View<'_>, budget: &mut usize) -> bool {
        while let Some(seek) = self.seeks.first_mut() {
            let is_wanted = !seek.decides.intersect(view.interest()).is_empty();
            if is_wanted && !seek.look_back(history, view, budget) {
                return false;
            }
            // What has been let go of meanwhile is not kept any more; but what came later is owed.
            let let_go = history.let_go().min(seek.newest);
            let before = (seek.seen_from - 1).max(let_go);
            let types = seek.decides;
            self.rewind(types, before);
        }
        true
    }
}

impl Seek {
    /// Goes on. False: the budget was used up first.
    fn look_back(&mut self, history: &History, view: &View<'_>, budget: &mut usize) -> bool {
        let types = self.types.intersect(view.visible());
        if types.is_empty() {
            return true;
        }
        for block in history.before(self.seen_from) {
            let is_older = |frame: &Frame| frame.id < self.seen_from;
            let end = block.frames.partition_point(is_older);
            for frame in block.frames[..end].iter().rev() {
                if *budget == 0 {
                    return false;
                }
                self.seen_from = frame.id;
                if types.contains(frame.kind) && view.may_see(block, frame) {
                    self.left -= 1;
                    if self.left == 0 {
                        return true;
                    }
                }
                let cost = limits::REPLAY_LOOK + block.name_count(frame);
                *budget = budget.saturating_sub(cost);
            }
        }
        true
    }
}
