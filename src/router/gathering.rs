//! When events wait a moment for others, so that several share one wake-up and one send.
//!
//! Owned by the router. Pure: `now` and counts in, decisions out. The first event after a pause
//! goes out at once; those that follow within the gathering time go out together at its end. So
//! nothing waits longer than that time, and a lone event does not wait at all.

use std::time::{Duration, Instant};

/// After a wait that no second event came in, so many batches go out at once: an emitter that
/// sends one event and waits for its ack would only be held up.
const PATIENCE: u32 = 16;

/// Decides when a batch goes out.
pub struct Gathering {
    /// The gathering time; zero is off.
    time: Duration,
    /// When the gathering time behind the last batch ends.
    next: Option<Instant>,
    /// Events are being held back.
    holding: bool,
    /// The last batch had several events, so more are likely to come.
    is_busy: bool,
    /// Batches that go out at once before waiting is tried again.
    impatient: u32,
}

impl Gathering {
    /// Gathers for `time`; zero is not at all.
    pub fn new(time: Duration) -> Self {
        Self {
            time,
            next: None,
            holding: false,
            is_busy: false,
            impatient: 0,
        }
    }

    /// Whether `events` events go out at `now`, or wait.
    pub fn release(&mut self, events: usize, now: Instant) -> bool {
        if self.time.is_zero() {
            return true;
        }
        let is_open = self.next.is_some_and(|next| now < next);
        if events == 0 {
            self.is_busy &= is_open;
            return true;
        }
        if is_open && self.impatient == 0 {
            self.holding = true;
            return false;
        }
        self.went_out(events, now);
        true
    }

    /// The events go out at `now`, whether they should have waited or not.
    pub fn went_out(&mut self, events: usize, now: Instant) {
        if self.time.is_zero() {
            return;
        }
        let in_vain = self.holding && events == 1;
        self.impatient = if in_vain {
            PATIENCE
        } else {
            self.impatient.saturating_sub(1)
        };
        self.holding = false;
        self.is_busy = events > 1;
        self.next = Some(now + self.time);
    }

    /// Until when the router does best to let events come, neither reading nor sending.
    pub fn until(&self) -> Option<Instant> {
        self.next.filter(|_| self.holding || self.is_busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(1);

    fn gathering() -> (Gathering, Instant) {
        (Gathering::new(TIME), Instant::now())
    }

    #[test]
    fn a_lone_event_goes_at_once_and_those_that_follow_go_together() {
        let (mut gathering, now) = gathering();
        assert!(gathering.release(1, now));
        assert_eq!(gathering.until(), None);
        assert!(!gathering.release(1, now + TIME / 4));
        assert_eq!(gathering.until(), Some(now + TIME));
        assert!(!gathering.release(2, now + TIME / 2));
        assert!(gathering.release(2, now + TIME));
        assert_eq!(gathering.until(), Some(now + TIME * 2), "more are likely");
        assert!(gathering.release(0, now + TIME * 2), "none came");
        assert_eq!(gathering.until(), None);
        assert!(gathering.release(1, now + TIME * 3));
    }

    #[test]
    fn one_event_after_another_is_not_held_up_for_long() {
        let (mut gathering, mut now) = gathering();
        let mut held = 0;
        for _ in 0..1_000 {
            // The next event comes when this one is out.
            if !gathering.release(1, now) {
                held += 1;
                now += TIME;
                assert!(gathering.release(1, now));
            }
            now += TIME / 10;
        }
        assert!((1..=1_000 / PATIENCE).contains(&held), "{held}");
    }

    #[test]
    fn zero_is_off() {
        let mut gathering = Gathering::new(Duration::ZERO);
        let now = Instant::now();
        assert!((0..10).all(|_| gathering.release(1, now)));
        gathering.went_out(1_000, now);
        assert_eq!(gathering.until(), None);
    }
}
