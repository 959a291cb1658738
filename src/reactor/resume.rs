//! How the past reaches sockets: a bounded part of it each turn.
//!
//! Part of the reactor. Who gets what of the past is decided in [`super::past`]; here it is written.
//! A replay is paced by its socket: the next part follows when the last one is gone, so that what
//! waits in an outbox is one part and never counts as slowness.

use std::sync::Arc;

use super::connection::Stage;
use super::fanout::{Frames, Stream, deliver};
use super::past::{Issued, Reached};
use super::{Drain, Reactor};
use crate::cluster;
use crate::event::Block;
use crate::limits;
use crate::ring::Beginning;
use crate::shared::Shared;
use crate::stats::Delivered;
use crate::wire::CloseReason;

/// The ids that clients of any reactor, and of any host, can have seen.
pub(super) fn issued(shared: &Shared) -> Issued<'_> {
    Issued {
        runs: &shared.runs,
        newest: match shared.cluster {
            None => shared.newest(),
            // Another host may be ahead: what it has told is on its way here.
            Some(_) => cluster::newest_possible(shared.wall.ms()).max(shared.newest()),
        },
        sent_to: shared.cluster.as_ref().map(|status| status.sent_to()),
    }
}

impl Reactor {
    /// Serves those whose past is being replayed, one after the other, within the turn's budget.
    pub(super) fn replay_past(&mut self) {
        let mut budget = limits::REPLAY_PER_TURN;
        for _ in 0..self.replays.queued() {
            if budget == 0 {
                return;
            }
            let Some(key) = self.replays.next_ready() else {
                return;
            };
            self.replay_to(key, &mut budget);
        }
    }

    fn replay_to(&mut self, key: u32, budget: &mut usize) {
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return;
        };
        if connection.is_waiting() {
            // Its turn comes when that is flushed.
            return;
        }
        let share = limits::REPLAY_SHARE.min(*budget);
        let mut left = share;
        let batch = &mut self.batch;
        let reached = self
            .replays
            .advance(key, &self.directory, &self.history, &mut left, batch);
        *budget -= share - left;
        let frames = Frames::Apart(&batch.blocks, &batch.slices);
        let sent = deliver(connection, frames, Stream::Past, &mut self.writing);
        let bytes: u32 = batch.slices.iter().map(|each| each.end - each.start).sum();
        let mut delivered = Delivered::default();
        delivered.add(1, batch.frames, u64::from(bytes));
        self.shared.stats.reactors[self.index].delivered(&delivered);
        batch.clear();
        if let Err(reason) = sent {
            return self.close(key, reason);
        }
        let has_room = !connection.is_waiting();
        match reached {
            Reached::Gap => self.close(key, CloseReason::SlowConsumer),
            Reached::Newest if has_room => self.go_live(key),
            // All that was handed out is here: at the end nothing more comes.
            Reached::NotYet if has_room && self.drain != Drain::No => self.go_live(key),
            Reached::NotYet => self.replays.park(key),
            Reached::Budget if has_room => self.replays.ready(key),
            Reached::Newest | Reached::Budget => {}
        }
    }

    /// Nothing is left before the events of the next turn.
    fn go_live(&mut self, key: u32) {
        self.replays.finish(key, &mut self.directory);
        if self.drain != Drain::No {
            self.say_reconnect(key);
        }
    }

    /// The events of before are not those of now: those who have subscribed to them come back, and are
    /// told what they can have.
    pub(super) fn begin_anew(&mut self, beginning: &Beginning) {
        self.fan_out();
        let Beginning {
            blocks,
            newest,
            let_go,
            online,
            settled,
        } = beginning;
        self.history.begin_anew(*newest, *let_go, blocks);
        self.history.settle_alone(*settled);
        self.online = *online;
        self.tell_history();
        self.reconnect_spread_ms = self.shared.admission.reconnect_spread_ms();
        let concerned: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.stage == Stage::Open)
            .map(|(key, _)| key as u32)
            .filter(|&key| !self.directory.wanted(key).is_empty())
            .collect();
        for key in concerned {
            self.say_reconnect(key);
        }
    }

    /// What this host had delivered alone has come from Redis, up to its batch `batch`, or never will: it
    /// takes its place in the history. Nobody is sent it again.
    pub(super) fn settle_alone(&mut self, block: Option<&Arc<Block>>, batch: u64) {
        self.fan_out();
        if let Some(block) = block {
            self.history.append(block);
            self.online = block.online;
        }
        self.history.settle_alone(batch);
        // Those who have not had it are sent it by their replays.
        self.replays.news();
        self.tell_history();
    }

    /// Lets go of what is too old, once it is due.
    pub(super) fn run_sweep(&mut self) {
        if self.history.sweep_due().is_some_and(|due| due <= self.now) {
            self.sweep_history();
        }
    }

    /// Lets go of what is too old.
    pub(super) fn sweep_history(&mut self) {
        self.history.sweep(self.now);
        self.tell_history();
    }

    /// Tells the statistics how much is kept.
    pub(super) fn tell_history(&self) {
        let stats = &self.shared.stats.reactors[self.index];
        stats.history_bytes.set(self.history.weight() as u64);
        stats.history_events.set(self.history.events() as u64);
    }
}
