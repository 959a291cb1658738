//! Those whose past is being replayed: where each stands, and whose turn it is.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::batch::Batch;
use super::history::History;
use super::replay::{Reached, Replay};
use crate::access::TypeMask;
use crate::event::{Position, Runs, types_of};
use crate::reactor::directory::Directory;
use crate::reactor::message::{Start, Subscribe};

/// The table, keyed by the reactor's slab keys, and the queue of those that can be served.
#[derive(Default)]
pub struct Replays {
    table: HashMap<u32, Entry>,
    /// Keys with their tickets, so that a key's next owner is not taken for the last one.
    queue: VecDeque<(u32, u64)>,
    /// Keys of those that wait for an event which is on its way.
    parked: Vec<u32>,
    tickets: u64,
}

struct Entry {
    replay: Replay,
    ticket: u64,
    queued: bool,
    parked: bool,
}

/// The part of a `subscribed` answer that is about the past.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// What `position` names.
    pub position: Position,
    /// Whether everything after `since` comes, where that was asked.
    pub recovered: Option<bool>,
}

/// The ids that clients can have seen.
#[derive(Clone, Copy)]
pub struct Issued<'a> {
    /// The runs they belong to.
    pub runs: &'a Runs,
    /// The newest one handed to any reactor; this one may not have got there yet.
    pub newest: u64,
    /// Where several hosts act as one: up to which one of this host's batches may have got to others. Ids
    /// may tell there what was had beside the common order.
    pub sent_to: Option<u64>,
}

impl Issued<'_> {
    /// Where whoever shows this id stands, if it is known; `newest` is the newest event here.
    pub fn read(&self, id: &str, newest: u64) -> Option<Position> {
        let position = self.runs.read(id, self.newest.max(newest))?;
        (self.sent_to.is_some() || position.is_plain()).then_some(position)
    }
}

impl Replays {
    /// Carries out a subscription that is allowed, and holds the connection back if it gets
    /// something of the past.
    pub fn subscribe(
        &mut self,
        key: u32,
        request: &Subscribe<'_>,
        directory: &mut Directory,
        history: &History,
        issued: Issued<'_>,
    ) -> Answer {
        let wanted_before = directory.wanted(key);
        directory.subscribe(key, request.namespaces, request.events);
        let types = directory.wanted(key).intersect(
            request
                .namespaces
                .iter()
                .fold(TypeMask::default(), |all, each| all.union(types_of(each))),
        );
        let (position, recovered) = match &request.start {
            Start::Now => {
                let fresh = types.without(wanted_before);
                (self.begin(key, types, fresh, history), None)
            }
            Start::Since(id) => match issued.read(id, history.newest()) {
                None => (self.begin(key, types, types, history), Some(false)),
                Some(since) => {
                    let is_kept = history.is_on() && history.let_go() <= since.number;
                    let from = if is_kept {
                        since.clone()
                    } else {
                        // What was had beside does not come again all the same.
                        joined(&since, history)
                    };
                    let here = history.position();
                    // Whoever has seen the newest misses nothing, and most who come back have.
                    if !from.joins(&here) || self.table.contains_key(&key) {
                        let replay = self.replay_of(key, directory, &here);
                        replay.rewind(types, &from);
                        if wanted_before.without(types).is_empty() {
                            replay.stand(&from);
                        }
                        replay.be_unsure_of(issued.sent_to.unwrap_or(0));
                    }
                    let mut position = joined(&since, history);
                    if is_kept {
                        position.number = position.number.max(since.number);
                        position.height = position.height.max(position.number);
                    }
                    (position, Some(is_kept))
                }
            },
            Start::Last(_) if history.events() == 0 && history.mark().is_none() => {
                (self.begin(key, types, types, history), None)
            }
            Start::Last(count) => {
                let here = history.position();
                self.replay_of(key, directory, &here)
                    .seek(types, *count, &here);
                (here, None)
            }
        };
        Answer {
            position,
            recovered,
        }
    }

    /// Lets `fresh` ones of `types` begin now; returns behind what `types` come.
    fn begin(&mut self, key: u32, types: TypeMask, fresh: TypeMask, history: &History) -> Position {
        let Some(entry) = self.table.get_mut(&key) else {
            return history.position();
        };
        entry.replay.begin(fresh, &history.position());
        entry.replay.position(types, history)
    }

    /// The connection's replay; it is held back from here on.
    fn replay_of(&mut self, key: u32, directory: &mut Directory, here: &Position) -> &mut Replay {
        if !self.table.contains_key(&key) {
            directory.hold(key);
            self.tickets += 1;
            let entry = Entry {
                replay: Replay::at(here),
                ticket: self.tickets,
                queued: false,
                parked: false,
            };
            self.table.insert(key, entry);
            self.ready(key);
        }
        &mut self
            .table
            .get_mut(&key)
            .expect("it was there or has just been put there")
            .replay
    }

    /// Where one of them stands, to be taken over by another process.
    pub fn state(&self, key: u32) -> Option<Replay> {
        self.table.get(&key).map(|entry| entry.replay.clone())
    }

    /// Goes on with one of another process.
    pub fn go_on(&mut self, key: u32, replay: Replay, directory: &mut Directory) {
        *self.replay_of(key, directory, &Position::default()) = replay;
    }

    /// The connection can take bytes again, if it is one of these.
    pub fn ready(&mut self, key: u32) {
        if let Some(entry) = self.table.get_mut(&key)
            && !entry.queued
        {
            entry.queued = true;
            self.queue.push_back((key, entry.ticket));
        }
    }

    /// The connection waits for an event that is not here yet: it is ready when another has come.
    pub fn park(&mut self, key: u32) {
        if let Some(entry) = self.table.get_mut(&key)
            && !entry.parked
        {
            entry.parked = true;
            self.parked.push(key);
        }
    }

    /// Events have come.
    pub fn news(&mut self) {
        while let Some(key) = self.parked.pop() {
            if let Some(entry) = self.table.get_mut(&key) {
                entry.parked = false;
            }
            self.ready(key);
        }
    }

    /// Connections that can be served now.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Connections whose past is being replayed.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether nobody's past is being replayed.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The one whose turn it is; it has to be [`ready`](Self::ready) again to get another.
    pub fn next_ready(&mut self) -> Option<u32> {
        while let Some((key, ticket)) = self.queue.pop_front() {
            if let Some(entry) = self.table.get_mut(&key)
                && entry.ticket == ticket
            {
                entry.queued = false;
                return Some(key);
            }
        }
        None
    }

    /// Walks on with one of them: see [`Replay::advance`]. One that has reached the newest event
    /// stays held back until [`Replays::finish`].
    pub fn advance(
        &mut self,
        key: u32,
        directory: &Directory,
        history: &History,
        budget: &mut usize,
        batch: &mut Batch,
    ) -> Reached {
        match self.table.get_mut(&key) {
            Some(entry) => entry
                .replay
                .advance(history, &directory.view(key), budget, batch),
            None => Reached::Newest,
        }
    }

    /// The connection has reached the newest event and takes part in what comes next.
    pub fn finish(&mut self, key: u32, directory: &mut Directory) {
        self.leave(key);
        directory.release(key);
    }

    /// The connection ends.
    pub fn leave(&mut self, key: u32) {
        if self.table.remove(&key).is_some() && self.table.is_empty() {
            // Everybody comes back after a restart, and then for a long time hardly anybody.
            self.table.shrink_to(0);
            self.queue.clear();
            self.queue.shrink_to(0);
            self.parked.clear();
            self.parked.shrink_to(0);
        }
    }
}

/// Where those stand who are not held back, and what whoever stands at `since` has had beside that.
fn joined(since: &Position, history: &History) -> Position {
    let mut position = history.position();
    for &mark in since.marks.iter().filter(|mark| !history.has(mark)) {
        position.add(mark);
    }
    if !position.is_plain() {
        position.height = position.height.max(since.height);
    }
    position
}
