//! The two clocks: one reading of them serves a whole turn.
//!
//! Timers and latencies follow the monotonic clock, timestamps and tokens the wall clock. The
//! router reads both a turn; a reactor asks for the wall clock where a token or an answer needs it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A moment, by both clocks.
#[derive(Clone, Copy)]
pub struct Now {
    /// Monotonic.
    pub instant: Instant,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

impl Now {
    /// Reads the wall clock; the other has just been read.
    pub fn at(instant: Instant) -> Self {
        Self {
            instant,
            wall_ms: wall_ms(),
        }
    }
}

/// Milliseconds since the Unix epoch; 0 before it.
pub fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

/// The wall clock that a server goes by.
#[derive(Clone, Default)]
pub enum WallClock {
    /// The system's.
    #[default]
    System,
    /// One that somebody else sets, in milliseconds since the Unix epoch: a simulation, whose time is
    /// its own.
    Set(Arc<AtomicU64>),
}

impl WallClock {
    /// Milliseconds since the Unix epoch.
    pub fn ms(&self) -> u64 {
        match self {
            Self::System => wall_ms(),
            Self::Set(ms) => ms.load(Ordering::Relaxed),
        }
    }

    /// Reads it; the monotonic clock has just been read.
    pub fn at(&self, instant: Instant) -> Now {
        Now {
            instant,
            wall_ms: self.ms(),
        }
    }
}
