//! Keeps one kind of log line from flooding the log: so many a second, the rest counted.
//!
//! Owned by the place that logs; pure but for the caller's clock.

use std::time::{Duration, Instant};

/// Lines of one kind that are let through each second.
const LINES_PER_SECOND: u32 = 10;

/// The state for one kind of line.
#[derive(Default)]
pub struct LogThrottle {
    window: Option<Instant>,
    let_through: u32,
    held_back: u64,
}

impl LogThrottle {
    /// Whether to write the line now; if so, how many of its kind were held back before it.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        let window = *self.window.get_or_insert(now);
        if now.saturating_duration_since(window) >= Duration::from_secs(1) {
            self.window = Some(now);
            self.let_through = 0;
        }
        if self.let_through == LINES_PER_SECOND {
            self.held_back += 1;
            return None;
        }
        self.let_through += 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

/// Says in a log line how many like it were held back: empty for none.
pub fn held_back(count: u64) -> String {
    if count == 0 {
        String::new()
    } else {
        format!(" ({count} more like it were not logged)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted_and_the_next_second_begins_anew() {
        let mut throttle = LogThrottle::default();
        let start = Instant::now();
        let passed = (0..100).filter(|_| throttle.admit(start).is_some()).count();
        assert_eq!(passed, 10);
        assert_eq!(throttle.admit(start + Duration::from_secs(1)), Some(90));
    }
}
