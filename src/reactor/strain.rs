//! Whether a reactor lags: whether its turns take so long that events, and those who are connected, wait.
//!
//! Part of the reactor, told by [`crate::engine`] how long each turn took, the router's included where
//! they share a loop. Pure: the caller's clock.

use std::time::Instant;

use crate::limits;

/// What is remembered of the last turns.
#[derive(Debug, Default)]
pub(super) struct Strain {
    /// Long turns, none of them long after another.
    long_turns: u32,
    /// When the last one ended.
    last_long: Option<Instant>,
    lags: bool,
}

impl Strain {
    /// A turn has ended. Returns whether the reactor lags now, if that has changed.
    pub(super) fn note(&mut self, began: Instant, ended: Instant) -> Option<bool> {
        let is_calm = self.calm_at().is_none_or(|at| began >= at);
        if is_calm {
            self.long_turns = 0;
            self.last_long = None;
        }
        if ended.saturating_duration_since(began) > limits::TURN_MAX {
            self.long_turns = self.long_turns.saturating_add(1);
            self.last_long = Some(ended);
        }
        let lags = self.long_turns >= limits::LAGGING_TURNS || (self.lags && !is_calm);
        let lagged = std::mem::replace(&mut self.lags, lags);
        (self.lags != lagged).then_some(self.lags)
    }

    /// Whether the reactor lags.
    pub(super) fn lags(&self) -> bool {
        self.lags
    }

    /// When a turn has to come although nothing happens: then it no longer lags.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.calm_at().filter(|_| self.lags)
    }

    fn calm_at(&self) -> Option<Instant> {
        Some(self.last_long? + limits::CALM_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_millis(251);
    const SHORT: Duration = Duration::from_millis(250);

    #[test]
    fn it_lags_after_several_long_turns_and_until_none_was_long_for_a_while() {
        let mut strain = Strain::default();
        let mut now = Instant::now();
        let mut turn = |strain: &mut Strain, length: Duration| {
            let began = now;
            now += length;
            strain.note(began, now)
        };
        assert_eq!(turn(&mut strain, SHORT), None);
        assert_eq!(turn(&mut strain, LONG), None);
        assert_eq!(turn(&mut strain, LONG), None);
        assert_eq!(strain.deadline(), None);
        assert_eq!(turn(&mut strain, SHORT), None, "short ones come between");
        assert_eq!(turn(&mut strain, LONG), Some(true));
        assert_eq!(turn(&mut strain, LONG), None, "told once");
        for _ in 0..4 {
            assert_eq!(turn(&mut strain, SHORT), None, "not calm yet");
        }
        // 1,000 ms of short turns are behind the last long one.
        assert!(strain.deadline().is_some());
        assert_eq!(turn(&mut strain, SHORT), Some(false));
        assert_eq!(strain.deadline(), None);
        assert_eq!(turn(&mut strain, LONG), None, "counted anew");
        assert_eq!(turn(&mut strain, LONG), None);
        assert_eq!(turn(&mut strain, LONG), Some(true));
    }

    #[test]
    fn long_turns_that_lie_far_apart_are_none_in_a_row() {
        let mut strain = Strain::default();
        let start = Instant::now();
        for number in 0..10 {
            let began = start + Duration::from_secs(2) * number;
            assert_eq!(strain.note(began, began + LONG), None);
        }
    }
}
