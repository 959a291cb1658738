//! One connection's way through the history.
//!
//! Two numbers say what it still gets: the **cursor** (every event up to it is dealt with) and, for
//! each event type, where that type **begins** for this connection. An event is sent if it is behind
//! both and the connection may see it as things are now. So namespaces that were asked for at
//! different times, from different places, come in one stream, in order, each event once.
//!
//! Where several hosts act as one, a connection may have had events beside their common order, from a
//! host that was cut off and delivered alone (docs/cluster.md): it has [`Mark`]s of them. They are passed
//! over when they come, and until then the ids it is told have its marks, so its frames are copied. For
//! that long its replay does not end: no plan has it, and those without marks pay nothing for it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::history::{History, batch_of};
use crate::access::TypeMask;
use crate::event::renaming::{next_height, put_alone, put_marked};
use crate::event::{Block, EventType, Frame, Mark, Naming, Position};
use crate::limits;
use crate::reactor::directory::View;

/// A connection in the middle of its past.
#[derive(Clone, Serialize, Deserialize)]
pub struct Replay {
    cursor: u64,
    /// By event type: it begins behind this number.
    begins: [u64; EventType::ALL.len()],
    /// Searches for beginnings; nothing is sent before they are over. No type waits for two of them.
    seeks: Vec<Seek>,
    /// What it has had beside the common order.
    had: Vec<Had>,
    /// What the id of the newest event ended in that it was sent, where that may be more than its number.
    height: Option<u64>,
    /// Of this host's batches up to this one it may have had some from other hosts, if it is ahead of this
    /// one.
    unsure_to: u64,
}

/// Events of these types that were had beside the common order.
#[derive(Clone, Serialize, Deserialize)]
struct Had {
    mark: Mark,
    types: TypeMask,
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
    /// Of what this host has delivered alone, this much has not been looked at: it is newer than all that.
    alone: Option<Mark>,
    /// Events still to be found.
    left: u32,
}

/// How far a replay came.
#[derive(Debug, PartialEq, Eq)]
pub enum Reached {
    /// The budget is used up.
    Budget,
    /// The newest event there is; what it waits for is on its way through the ring, or is to come from
    /// another host.
    NotYet,
    /// The newest event, and nothing is left before it.
    Newest,
    /// What it had to be sent next is not kept any more.
    Gap,
}

impl Replay {
    /// A connection that has been dealt with all events up to there.
    pub fn at(position: &Position) -> Self {
        let mut replay = Self {
            cursor: position.number,
            begins: [position.number; EventType::ALL.len()],
            seeks: Vec::new(),
            had: Vec::new(),
            height: height_beyond(position),
            unsure_to: 0,
        };
        replay.note_had(TypeMask::ALL, &position.marks);
        replay
    }

    /// `types` begin there, whatever was sent of them before; all others go on as they were.
    pub fn rewind(&mut self, types: TypeMask, position: &Position) {
        let id = position.number;
        self.decided(types);
        for (kind, begins) in EventType::ALL.into_iter().zip(&mut self.begins) {
            *begins = if types.contains(kind) {
                id
            } else {
                self.cursor.max(*begins)
            };
        }
        self.height = self.height.max(height_beyond(position));
        self.cursor = self.cursor.min(id);
        self.note_had(types, &position.marks);
    }

    /// All that it gets comes behind there: numbers go back with it.
    pub fn stand(&mut self, position: &Position) {
        self.height = height_beyond(position);
    }

    /// Of this host's batches up to this one some may have been had where the connection comes from.
    pub fn be_unsure_of(&mut self, batch: u64) {
        self.unsure_to = batch;
    }

    /// `types` begin there, which is not before the cursor.
    pub fn begin(&mut self, types: TypeMask, position: &Position) {
        self.decided(types);
        for (kind, begins) in EventType::ALL.into_iter().zip(&mut self.begins) {
            if types.contains(kind) {
                *begins = position.number;
            }
        }
        self.height = self.height.max(height_beyond(position));
        self.note_had(types, &position.marks);
    }

    /// `types` begin with the newest `count` events of them that the connection may see; these are
    /// looked for, backwards from here, before anything else is sent.
    pub fn seek(&mut self, types: TypeMask, count: u32, here: &Position) {
        let newest = here.number;
        self.decided(types);
        self.seeks.push(Seek {
            types,
            decides: types,
            newest,
            seen_from: newest + 1,
            // Of no other host.
            alone: here.marks.first().copied(),
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

    /// Of `types` these were had beside the common order, and no others.
    fn note_had(&mut self, types: TypeMask, marks: &[Mark]) {
        self.had.retain_mut(|had| {
            had.types = had.types.without(types);
            !had.types.is_empty()
        });
        let new = marks.iter().map(|&mark| Had { mark, types });
        self.had.extend(new);
    }

    /// Where `types` stand: behind what the first one of them can come.
    pub fn position(&self, types: TypeMask, history: &History) -> Position {
        let is_sought = |seek: &Seek| !seek.decides.intersect(types).is_empty();
        if self.seeks.iter().any(is_sought) {
            // Somewhere in what is kept.
            return Position::of(history.let_go());
        }
        Position {
            number: self.stands_at(types),
            marks: self.marks_of(types),
            height: self.height.unwrap_or(0).max(self.stands_at(types)),
        }
    }

    fn stands_at(&self, types: TypeMask) -> u64 {
        let all = EventType::ALL.into_iter().zip(self.begins);
        let first = all
            .filter(|(kind, _)| types.contains(*kind))
            .map(|(_, begins)| begins)
            .min();
        self.cursor.max(first.unwrap_or(self.cursor))
    }

    /// What was had of all `types` beside the common order: less than of some of them, so that nothing is
    /// left out where a client goes on.
    fn marks_of(&self, types: TypeMask) -> Vec<Mark> {
        if self.had.is_empty() {
            return Vec::new();
        }
        let mut newest_first: Vec<&Had> = self.had.iter().collect();
        newest_first.sort_unstable_by_key(|had| std::cmp::Reverse(had.mark));
        let mut position = Position::default();
        for of_host in newest_first.chunk_by(|one, next| one.mark.host == next.mark.host) {
            let mut left = types;
            let is_last = |had: &&&Had| {
                left = left.without(had.types);
                left.is_empty()
            };
            if let Some(had) = of_host.iter().find(is_last) {
                position.add(had.mark);
            }
        }
        position.marks
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
        let reached = self.walk(history, view, budget, batch);
        batch.close();
        reached
    }

    fn walk(
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
            let is_as_it_lies =
                block.naming == Naming::Plain && self.had.is_empty() && self.height.is_none();
            let is_through = if is_as_it_lies {
                self.walk_block(block, view, budget, batch)
            } else {
                self.walk_block_marked(block, view, budget, batch)
            };
            if !is_through {
                return Reached::Budget;
            }
            self.note_passed(block);
        }
        if !self.had.is_empty() {
            // Also those whose events it was not led through.
            self.had.retain(|had| !history.has(&had.mark));
        }
        let is_ahead = |kind: &EventType| {
            interest.contains(*kind) && self.begins[*kind as usize] > history.newest()
        };
        let is_ahead = EventType::ALL.iter().any(is_ahead);
        // What it is ahead by may hold some of this host's own, which are not to come again.
        if is_ahead
            && history
                .alone(0)
                .next()
                .is_some_and(|first| batch_of(first) <= self.unsure_to)
        {
            return Reached::NotYet;
        }
        if !self.walk_alone(history, view, budget, batch) {
            return Reached::Budget;
        }
        let is_beside = |had: &Had| !history.mark().is_some_and(|all| all.covers(&had.mark));
        let is_higher = self.height.is_some_and(|height| height > history.height());
        if is_ahead || is_higher || self.had.iter().any(is_beside) {
            Reached::NotYet
        } else {
            Reached::Newest
        }
    }

    /// Walks on through a block whose frames are sent as they lie there. False: the budget was used up
    /// first.
    fn walk_block(
        &mut self,
        block: &Arc<Block>,
        view: &View<'_>,
        budget: &mut usize,
        batch: &mut Batch,
    ) -> bool {
        let first = self.dealt_with(block);
        let Self { cursor, begins, .. } = self;
        for frame in &block.frames[first..] {
            if *budget == 0 {
                return false;
            }
            *cursor = frame.id;
            let mut cost = limits::REPLAY_LOOK + block.name_count(frame);
            if frame.id > begins[frame.kind as usize] && view.sees(block, frame) {
                batch.add(block, frame.start, frame.end);
                cost += (frame.end - frame.start) as usize;
            }
            *budget = budget.saturating_sub(cost);
        }
        true
    }

    /// The same, passing over what was had beside the common order; what is sent has ids that tell it.
    fn walk_block_marked(
        &mut self,
        block: &Arc<Block>,
        view: &View<'_>,
        budget: &mut usize,
        batch: &mut Batch,
    ) -> bool {
        let marks = self.marks_of(view.interest());
        let is_plain = marks.is_empty() && block.naming == Naming::Plain;
        let first = self.dealt_with(block);
        for (index, frame) in block.frames.iter().enumerate().skip(first) {
            if *budget == 0 {
                return false;
            }
            self.cursor = frame.id;
            let mut cost = limits::REPLAY_LOOK + block.name_count(frame);
            if frame.id > self.begins[frame.kind as usize]
                && view.sees(block, frame)
                && !self.has_had(block, index)
            {
                if is_plain && self.height.is_none_or(|height| frame.id > height) {
                    self.height = None;
                    batch.add(block, frame.start, frame.end);
                } else {
                    batch.add_renamed(block, frame, |id, out| {
                        let height = next_height(id, self.height.unwrap_or(0));
                        self.height = Some(height);
                        put_marked(id, frame.id, &marks, height, out);
                    });
                }
                cost += (frame.end - frame.start) as usize;
            }
            *budget = budget.saturating_sub(cost);
        }
        true
    }

    /// So many of a block's frames are dealt with.
    fn dealt_with(&self, block: &Block) -> usize {
        block
            .frames
            .partition_point(|frame| frame.id <= self.cursor)
    }

    /// Walks on through what this host has delivered alone. False: the budget was used up first.
    fn walk_alone(
        &mut self,
        history: &History,
        view: &View<'_>,
        budget: &mut usize,
        batch: &mut Batch,
    ) -> bool {
        let Some(newest) = history.mark() else {
            return true;
        };
        let interest = view.interest();
        let behind = self.stands_at(interest);
        let is_of_all = |had: &&Had| had.types == TypeMask::ALL && had.mark.host == newest.host;
        let from = self.had.iter().find(is_of_all).map(|had| had.mark);
        let marks = self.marks_of(interest);
        for block in history.alone(from.map_or(0, |mark| mark.batch)) {
            for (index, frame) in block.frames.iter().enumerate() {
                let Some(origin) = &block.origin else {
                    continue;
                };
                let own = origin.mark(index);
                if from.is_some_and(|from| from.covers(&own)) {
                    continue;
                }
                if *budget == 0 {
                    return false;
                }
                let mut cost = limits::REPLAY_LOOK + block.name_count(frame);
                if view.sees(block, frame) && !self.has_had(block, index) {
                    batch.add_renamed(block, frame, |id, out| {
                        let height = next_height(id, self.height.unwrap_or(0).max(behind));
                        self.height = Some(height);
                        put_alone(id, behind, &marks, own, height, out);
                    });
                    cost += (frame.end - frame.start) as usize;
                }
                *budget = budget.saturating_sub(cost);
                self.deal_with(own);
            }
        }
        true
    }

    /// All events up to this one are dealt with, of what this host has delivered alone.
    fn deal_with(&mut self, mark: Mark) {
        let is_of_all = |had: &&mut Had| had.types == TypeMask::ALL && had.mark.host == mark.host;
        match self.had.iter_mut().find(is_of_all) {
            Some(had) => had.mark = mark,
            None => self.had.push(Had {
                mark,
                types: TypeMask::ALL,
            }),
        }
        self.had
            .retain(|had| had.types == TypeMask::ALL || !mark.covers(&had.mark));
    }

    /// Whether the connection has had this frame beside the common order.
    fn has_had(&self, block: &Block, index: usize) -> bool {
        if self.had.is_empty() {
            return false;
        }
        let Some(origin) = &block.origin else {
            return false;
        };
        let (mark, kind) = (origin.mark(index), block.frames[index].kind);
        let mut all = self.had.iter();
        all.any(|had| had.types.contains(kind) && had.mark.covers(&mark))
    }

    /// All of a block of the common order is dealt with: what was had beside of it has come by that.
    fn note_passed(&mut self, block: &Block) {
        if self.had.is_empty() {
            return;
        }
        if let Some(origin) = &block.origin {
            let is_to_come =
                |had: &Had| had.mark.host != origin.host || had.mark.batch > origin.batch;
            self.had.retain(is_to_come);
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
            let before = Position {
                marks: seek.alone.into_iter().collect(),
                ..Position::of((seek.seen_from - 1).max(let_go))
            };
            let types = seek.decides;
            self.rewind(types, &before);
            if view.interest().without(types).is_empty() {
                self.stand(&before);
            }
        }
        true
    }
}

/// What the id of the newest event ended in for whoever stands there, if that may be more than its number.
fn height_beyond(position: &Position) -> Option<u64> {
    (!position.is_plain()).then_some(position.height)
}

impl Seek {
    /// Goes on. False: the budget was used up first.
    fn look_back(&mut self, history: &History, view: &View<'_>, budget: &mut usize) -> bool {
        let types = self.types.intersect(view.visible());
        if types.is_empty() {
            return true;
        }
        if !self.look_back_alone(types, history, view, budget) {
            return false;
        }
        if self.left == 0 {
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

    /// First through what this host has delivered alone, which is newer.
    fn look_back_alone(
        &mut self,
        types: TypeMask,
        history: &History,
        view: &View<'_>,
        budget: &mut usize,
    ) -> bool {
        let Some(unseen) = self.alone else {
            return true;
        };
        for block in history.alone(0).rev() {
            let Some(origin) = &block.origin else {
                continue;
            };
            for (index, frame) in block.frames.iter().enumerate().rev() {
                let mark = origin.mark(index);
                if !unseen.covers(&mark) {
                    continue;
                }
                if *budget == 0 {
                    return false;
                }
                self.alone = Some(Mark {
                    place: mark.place - 1,
                    ..mark
                });
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
        self.alone = None;
        true
    }
}
