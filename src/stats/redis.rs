//! What is told of Redis, where several hosts act as one through it.

use std::time::Duration;

use serde::Serialize;

use super::{Counter, Times};

/// Counters of the two threads that talk to Redis, and of the router.
#[derive(Default)]
pub struct RedisStats {
    /// Entries that Redis has taken from here; written by the thread that writes.
    pub written: Counter,
    /// Entries that were read; written by the thread that reads, as is ...
    pub read: Counter,
    /// ... how old the newest one was then, in milliseconds by its number and this host's clock.
    pub lag_ms: Counter,
    /// Events given to Redis that have not been read back; written by the router, as are ...
    pub waiting: Counter,
    /// ... those that were delivered on this host alone and have not been read back, and ...
    pub alone: Counter,
    /// ... the times from the one to the other.
    pub round_trips: Times,
}

/// Whether Redis is in reach of this host, as those know who talk to it.
pub struct Reach {
    /// It is, and this host has begun to read.
    pub is_connected: bool,
    /// It is not, and what comes in here is delivered here all the same.
    pub delivers_alone: bool,
    /// For how long it has not been, if that was noticed.
    pub down_for: Option<Duration>,
}

/// What the statistics tell of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RedisSnapshot {
    connected: bool,
    delivers_alone: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_off_seconds: Option<u64>,
    waiting_events: u64,
    local_events: u64,
}

impl RedisStats {
    pub(super) fn snapshot(&self, reach: &Reach) -> RedisSnapshot {
        RedisSnapshot {
            connected: reach.is_connected,
            delivers_alone: reach.delivers_alone,
            cut_off_seconds: reach.down_for.map(|time| time.as_secs()),
            waiting_events: self.waiting.get(),
            local_events: self.alone.get(),
        }
    }
}
