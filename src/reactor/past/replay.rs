//! One connection's way through the history.
//!
//! Two numbers say what it still gets: the **cursor** (every event up to it is dealt with) and, for
//! each event type, where that type **begins** for this connection. An event is sent if it is behind
//! both and the connection may see it as things are now. So namespaces that were asked for at
//! different times, from different places, come in one stream, in order, each event once.

use std::sync::Arc;

use super::History;
use crate::access::TypeMask;
use crate::event::{Block, EventType, Frame};
use crate::limits;
use crate::reactor::directory::{Slice, View};

/// A connection in the middle of its past.
pub struct Replay {
    cursor: u64,
    /// By event type: it begins behind this number.
    begins: [u64; EventType::ALL.len()],
    seek: Option<Seek>,
}

/// A search, backwards, for where the newest so many events begin.
struct Seek {
    types: TypeMask,
    /// Everything from this number on has been looked at.
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
            seek: None,
        }
    }

    /// `types` begin behind `id`, whatever was sent of them before; all others go on as they were.
    pub fn rewind(&mut self, types: TypeMask, id: u64) {
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
        for (kind, begins) in EventType::ALL.into_iter().zip(&mut self.begins) {
            if types.contains(kind) {
                *begins = id;
            }
        }
    }

    /// `types` begin with the newest `count` events of them that the connection may see; these are
    /// looked for, from `newest` backwards, before anything else is sent.
    pub fn seek(&mut self, types: TypeMask, count: u32, newest: u64) {
        self.seek = Some(Seek {
            types,
            seen_from: newest + 1,
            left: count,
        });
    }

    /// Behind which event the first one of `types` can come.
    pub fn position(&self, types: TypeMask) -> u64 {
        let all = EventType::ALL.into_iter().zip(self.begins);
        let first = all
            .filter(|(kind, _)| types.contains(*kind))
            .map(|(_, begins)| begins)
            .min();
        self.cursor.max(first.unwrap_or(self.cursor))
    }

    /// Ends a search that is under way, however long it takes: another request is to be seen to.
    pub fn settle(&mut self, history: &History, view: &View<'_>) {
        let mut budget = usize::MAX;
        self.look_back(history, view, &mut budget);
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
            some => self.position(some),
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

    /// Goes on with the search, if there is one. False: the budget was used up first.
    fn look_back(&mut self, history: &History, view: &View<'_>, budget: &mut usize) -> bool {
        let Some(mut seek) = self.seek.take() else {
            return true;
        };
        let wanted = seek.types.intersect(view.interest());
        if !wanted.is_empty() {
            'found: for block in history.before(seek.seen_from) {
                let is_older = |frame: &Frame| frame.id < seek.seen_from;
                let end = block.frames.partition_point(is_older);
                for frame in block.frames[..end].iter().rev() {
                    if *budget == 0 {
                        self.seek = Some(seek);
                        return false;
                    }
                    seek.seen_from = frame.id;
                    if wanted.contains(frame.kind) && view.sees(block, frame) {
                        seek.left -= 1;
                        if seek.left == 0 {
                            break 'found;
                        }
                    }
                    let cost = limits::REPLAY_LOOK + block.name_count(frame);
                    *budget = budget.saturating_sub(cost);
                }
            }
        }
        // What has been let go of meanwhile was kept when it was asked for, and is not now.
        let before = (seek.seen_from - 1).max(history.let_go());
        self.rewind(seek.types, before);
        true
    }
}
