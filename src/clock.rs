//! The two clocks: one reading of them serves a whole turn.
//!
//! Timers and latencies follow the monotonic clock, timestamps and tokens the wall clock. Read by
//! every loop; nothing else of the hot path asks for the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the wall clock is reckoned from the monotonic one before it is read anew: a step of
/// the wall clock shows after that.
const RECKONED: Duration = Duration::from_millis(10);

/// A moment, by both clocks.
#[derive(Clone, Copy)]
pub struct Now {
    /// Monotonic.
    pub instant: Instant,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

/// Tells the wall clock's time from the monotonic clock's, so that a busy loop reads one clock a
/// turn instead of two.
pub struct Clock {
    read_at: Instant,
    wall: Duration,
}

impl Clock {
    /// Reads the wall clock; `now` has just been read.
    pub fn new(now: Instant) -> Self {
        Self {
            read_at: now,
            wall: since_epoch(),
        }
    }

    /// Both clocks at `now`, which has just been read.
    pub fn at(&mut self, now: Instant) -> Now {
        let mut since = now.saturating_duration_since(self.read_at);
        if since >= RECKONED {
            *self = Self::new(now);
            since = Duration::ZERO;
        }
        Now {
            instant: now,
            wall_ms: millis(self.wall + since),
        }
    }
}

/// Milliseconds since the Unix epoch; 0 before it.
pub fn wall_ms() -> u64 {
    millis(since_epoch())
}

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_goes_on_between_readings_and_is_read_anew() {
        let begun = Instant::now();
        let mut clock = Clock::new(begun);
        // As if it had been set back meanwhile.
        clock.wall = Duration::from_millis(1_000);
        let step = Duration::from_millis(1);
        assert_eq!(clock.at(begun).wall_ms, 1_000);
        assert_eq!(clock.at(begun + step * 9).wall_ms, 1_009);
        assert!(clock.at(begun + step * 10).wall_ms >= 1_700_000_000_000);
    }
}
