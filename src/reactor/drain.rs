//! The way out: clients are told when to come back, and all connections end.
//!
//! Part of the reactor. The router says when, and hears when all have parted.

use super::Reactor;
use super::connection::Stage;
use crate::ring::ToRouter;

/// How far the way out is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    No,
    /// Goodbyes are said; connections are still parting.
    Parting,
    /// The router was told that all have parted.
    Told,
    /// The router wants us to end.
    Stopped,
}

impl Reactor {
    pub(super) fn begin_drain(&mut self) {
        if self.drain != Drain::No {
            return;
        }
        self.drain = Drain::Parting;
        self.replays.news();
        self.reconnect_spread_ms = self.shared.admission.reconnect_spread_ms();
        // Those whose past is being replayed are sent the rest of it before.
        let live: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.stage == Stage::Open)
            .map(|(key, _)| key as u32)
            .filter(|&key| !self.directory.is_held(key))
            .collect();
        for key in live {
            self.say_reconnect(key);
        }
    }

    /// Tells a client when to come back, and says goodbye.
    pub(super) fn say_reconnect(&mut self, key: u32) {
        let after = fastrand::u64(0..=self.reconnect_spread_ms);
        self.answers.reconnect(after, &mut self.out);
        self.say_goodbye(key);
    }

    pub(super) fn advance_drain(&mut self) {
        if self.drain == Drain::Parting && self.parting == 0 && self.replays.is_empty() {
            self.drain = Drain::Told;
            self.uplink.send(ToRouter::Drained);
        }
    }
}
