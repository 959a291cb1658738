//! What is told of Redis, where several hosts act as one through it.

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
