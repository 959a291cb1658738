//! How far the connections of a client are, what has not come to them as it should, and which of them
//! were left hanging.

use super::connection::Connection;
use super::{Client, State};
use crate::accounting::Faults;

impl Client {
    /// The faults of those that were stalled and that the server has not ended: they must have got
    /// everything after all.
    pub fn faults_of_woken(&self) -> Faults {
        let events = self.progress.events();
        let slots = self.stalled.iter().map(|&index| &self.slots[index]);
        let mut sum = Faults::default();
        for slot in slots.filter(|slot| slot.state == State::Open) {
            sum += slot.connection.faults(events, &self.world, events);
        }
        sum
    }

    /// Whether every event has come to every connection that reads and is still there, and none is
    /// on its way in or out.
    pub fn has_everything(&self) -> bool {
        let events = self.progress.events();
        self.reading().all(|connection| {
            let has_all = connection.expected().is_some_and(|next| next >= events);
            has_all && connection.is_live()
        })
    }

    /// The event that the connection furthest behind waits for, of those that read.
    pub fn furthest_behind(&self) -> Option<u32> {
        self.reading().filter_map(Connection::expected).min()
    }

    /// Connections that are subscribed and read.
    pub fn live(&self) -> usize {
        self.reading()
            .filter(|connection| connection.is_live())
            .count()
    }

    /// The faults of all connections that were to read, where the events before number `owed` had to
    /// come.
    pub fn faults(&self, owed: u32) -> Faults {
        let events = self.progress.events();
        let mut sum = self.faults_of_left;
        for slot in &self.slots {
            let until = match slot.state {
                State::Leaving(until) => until.min(owed),
                State::Stalled | State::Left => continue,
                State::Open | State::Ended => owed,
            };
            sum += slot.connection.faults(until, &self.world, events);
        }
        sum
    }

    fn reading(&self) -> impl Iterator<Item = &Connection> {
        self.slots
            .iter()
            .filter(|slot| matches!(slot.state, State::Open | State::Leaving(_)))
            .map(|slot| &slot.connection)
    }

    /// Counts as ended what was left hanging: connections that came and were never subscribed, and
    /// those that asked to leave and were never let go.
    pub fn give_up_on_hanging(&mut self) {
        for slot in &mut self.slots {
            let reason = match slot.state {
                State::Open if !slot.connection.is_live() => "was not subscribed until the end",
                State::Leaving(_) => "asked to leave and was not let go until the end",
                _ => continue,
            };
            *self.ended.entry(reason.into()).or_default() += 1;
        }
    }
}
