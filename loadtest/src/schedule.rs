//! When each event is meant to be sent.
//!
//! The schedule is fixed before the first event (open loop): a server or client that falls behind
//! does not slow it down, and latency is counted from the intended time, waiting included.

use std::time::{Duration, Instant};

/// Events at even distances from a start.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    start: Instant,
    /// The number of the first of them.
    first: u32,
    events: u32,
    rate: f64,
}

impl Schedule {
    /// `rate` events a second for `seconds`, at least one.
    pub fn new(start: Instant, rate: f64, seconds: f64) -> Self {
        Self {
            start,
            first: 0,
            events: ((rate * seconds).round() as u32).max(1),
            rate,
        }
    }

    /// The same for events whose numbers begin with `first`, not with 0.
    pub fn from(self, first: u32) -> Self {
        Self { first, ..self }
    }

    /// The number of the first event.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// How many events there are.
    pub fn events(&self) -> u32 {
        self.events
    }

    /// One more than the number of the last event.
    pub fn end(&self) -> u32 {
        self.first + self.events
    }

    /// When the first event is due.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// When event `number` is due.
    #[inline]
    pub fn intended(&self, number: u32) -> Instant {
        self.start + Duration::from_nanos(self.intended_ns(number))
    }

    /// The same in nanoseconds from the start.
    #[inline]
    pub fn intended_ns(&self, number: u32) -> u64 {
        (f64::from(number.saturating_sub(self.first)) * 1e9 / self.rate) as u64
    }

    /// One more than the number of the last event that is due at `now`.
    pub fn due(&self, now: Instant) -> u32 {
        let Some(passed) = now.checked_duration_since(self.start) else {
            return self.first;
        };
        // The estimate may be off by one through rounding; the intended time decides.
        let mut due = self
            .first
            .saturating_add((passed.as_secs_f64() * self.rate) as u32);
        while due < self.end() && self.intended(due) <= now {
            due += 1;
        }
        due.min(self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_spread_evenly_and_none_is_forgotten() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 5.0, 10.0);
        assert_eq!(schedule.events(), 50);
        assert_eq!(schedule.intended(0), start);
        assert_eq!(schedule.intended(5), start + Duration::from_secs(1));
        assert_eq!(Schedule::new(start, 0.001, 1.0).events(), 1);
    }

    #[test]
    fn due_agrees_with_the_intended_times() {
        let start = Instant::now();
        for first in [0, 70_000] {
            let schedule = Schedule::new(start, 333.3, 3.0).from(first);
            assert_eq!(schedule.due(start - Duration::from_secs(1)), first);
            assert_eq!(schedule.intended(first), start);
            for number in first..schedule.end() {
                let intended = schedule.intended(number);
                assert_eq!(schedule.due(intended), number + 1);
                assert!(schedule.due(intended - Duration::from_nanos(1)) <= number);
            }
            let late = start + Duration::from_secs(60);
            assert_eq!(schedule.due(late), first + 1000);
        }
    }
}
