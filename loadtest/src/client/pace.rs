//! How fast a connection reads that is made to read slowly: so many bytes a second, evenly.

use std::time::Instant;

/// What may be read at once is what comes due in this part of a second.
const BURSTS_PER_S: f64 = 100.0;

/// The pace of one connection.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Bytes a second.
    rate: f64,
    /// Bytes that may be read now; below zero where more was read than that.
    due: f64,
    /// When that was so; from the first question on.
    at: Option<Instant>,
}

impl Pace {
    /// So many bytes a second.
    pub fn new(rate: f64) -> Self {
        Self {
            rate,
            due: 0.0,
            at: None,
        }
    }

    /// How many bytes may be read at `now`: none, or as much as is worth a read.
    pub fn room(&mut self, now: Instant) -> usize {
        let burst = (self.rate / BURSTS_PER_S).max(1.0);
        let passed = self
            .at
            .map_or(1.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.at = Some(now);
        self.due = (self.due + self.rate * passed).min(2.0 * burst);
        if self.due < burst {
            0
        } else {
            self.due as usize
        }
    }

    /// So many bytes were read.
    pub fn took(&mut self, bytes: usize) {
        self.due -= bytes as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn as_many_bytes_are_read_as_come_due_and_no_more() {
        let start = Instant::now();
        let mut pace = Pace::new(1e6);
        let mut read = 0;
        for step in 0..=2_000 {
            let room = pace.room(start + Duration::from_millis(step));
            assert!(room == 0 || room >= 10_000, "{room}");
            let length = room.min(16_384);
            pace.took(length);
            read += length;
        }
        assert!((1_980_000..=2_020_000).contains(&read), "{read}");
    }
}
