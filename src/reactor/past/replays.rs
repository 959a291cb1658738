//! Those whose past is being replayed: where each stands, and whose turn it is.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::History;
use super::replay::{Batch, Reached, Replay};
use crate::access::TypeMask;
use crate::event::{Runs, types_of};
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
    /// The number of the event that `position` names.
    pub position: u64,
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
        let newest = history.newest();
        let (position, recovered) = match &request.start {
            Start::Now => {
                let fresh = types.without(wanted_before);
                (self.begin(key, types, fresh, history), None)
            }
            Start::Since(id) => match recoverable(id, history, issued) {
                None => (self.begin(key, types, types, history), Some(false)),
                Some(id) => {
                    // Whoever has seen the newest misses nothing, and most who come back have.
                    if id != newest || self.table.contains_key(&key) {
                        self.replay_of(key, directory, newest).rewind(types, id);
                    }
                    (newest.max(id), Some(true))
                }
            },
            Start::Last(_) if history.events() == 0 => {
                (self.begin(key, types, types, history), None)
            }
            Start::Last(count) => {
                self.replay_of(key, directory, newest)
                    .seek(types, *count, newest);
                (newest, None)
            }
        };
        Answer {
            position,
            recovered,
        }
    }

    /// Lets `fresh` ones of `types` begin now; returns behind which event `types` come.
    fn begin(&mut self, key: u32, types: TypeMask, fresh: TypeMask, history: &History) -> u64 {
        let Some(entry) = self.table.get_mut(&key) else {
            return history.newest();
        };
        entry.replay.begin(fresh, history.newest());
        entry.replay.position(types, history)
    }

    /// The connection's replay; it is held back from here on.
    fn replay_of(&mut self, key: u32, directory: &mut Directory, newest: u64) -> &mut Replay {
        if !self.table.contains_key(&key) {
            directory.hold(key);
            self.tickets += 1;
            let entry = Entry {
                replay: Replay::at(newest),
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
        *self.replay_of(key, directory, 0) = replay;
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

/// The number behind which everything is still kept, if the id is known and that is so.
fn recoverable(id: &str, history: &History, issued: Issued<'_>) -> Option<u64> {
    let newest = issued.newest.max(history.newest());
    let number = issued.runs.number(id, newest)?;
    (history.is_on() && history.let_go() <= number).then_some(number)
}
