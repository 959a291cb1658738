//! Sees to it that every loop comes round. One that hangs is told to the log and to the statistics, by which
//! `/readyz`, the metrics and the router know it; while none does, the service manager is told so, which can
//! then restart a server that hangs (systemd's `WatchdogSec=`).
//!
//! A loop without work sleeps for as long as nothing is due, so it is woken, and looked at again the
//! next time. Owned by the [`observer`](super::observer), which looks every [`EVERY`].

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::engine::Engine;
use crate::ring::Doorbell;
use crate::stats::Stats;

/// How often to look. A service manager's limit has to be a good deal longer.
pub(super) const EVERY: Duration = Duration::from_secs(2);

/// So many times without a turn in a row are a loop that hangs. Once is none: a loop may be about to
/// fall asleep when it is rung for.
const TOO_OFTEN: u32 = 2;

pub(super) struct Watchdog {
    loops: Vec<Watched>,
}

struct Watched {
    doorbell: Arc<Doorbell>,
    /// As [`Engine::number`].
    number: usize,
    /// Turns when it was last looked at.
    turns: u64,
    /// How often in a row there was none since.
    missed: u32,
}

impl Watchdog {
    /// Over these loops.
    pub(super) fn over(engines: &[Engine]) -> Self {
        let watched = |engine: &Engine| Watched {
            doorbell: Arc::clone(&engine.doorbell),
            number: engine.number,
            turns: 0,
            missed: 0,
        };
        Self {
            loops: engines.iter().map(watched).collect(),
        }
    }

    /// Looks at all of them, and tells the service manager if none hangs.
    pub(super) fn look(&mut self, stats: &Stats) {
        let mut hang = 0;
        for watched in &mut self.loops {
            hang += usize::from(watched.hangs(stats));
            watched.doorbell.ring();
        }
        if hang == 0
            && let Err(error) = sd_notify::notify(false, &[NotifyState::Watchdog])
        {
            log::debug!("could not notify the service manager: {error}");
        }
    }
}

impl Watched {
    fn hangs(&mut self, stats: &Stats) -> bool {
        let worker = self.number;
        let told = stats.of_loop(worker);
        let turns = told.turns.total();
        if turns != self.turns {
            told.hangs.set(0);
            if self.missed >= TOO_OFTEN {
                log::warn!(worker; "a loop that hung comes round again");
            }
            (self.turns, self.missed) = (turns, 0);
            return false;
        }
        self.missed = self.missed.saturating_add(1);
        if self.missed == TOO_OFTEN {
            // Before the log, which may be what a loop hangs in.
            told.hangs.set(1);
            log::error!(worker; "a loop has not come round for {} s: what it has is not served", (EVERY * TOO_OFTEN).as_secs());
        }
        self.missed >= TOO_OFTEN
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Instant;

    use mio::{Poll, Token};

    use super::*;

    #[test]
    fn a_loop_hangs_that_was_rung_for_twice_and_did_not_turn() {
        let poll = Poll::new().unwrap();
        let mut watched = Watched {
            doorbell: Doorbell::new(poll.registry(), Token(0)).unwrap(),
            number: 1,
            turns: 0,
            missed: 0,
        };
        let stats = Stats::new(2, false, Instant::now());
        let turn = |number| stats.of_loop(number).turns.record(1, 1);
        turn(1);
        assert!(!watched.hangs(&stats));
        assert!(!watched.hangs(&stats));
        turn(0);
        assert!(!stats.any_hangs());
        assert!(watched.hangs(&stats), "another's turns do not count");
        assert!(watched.hangs(&stats));
        assert!(stats.hangs(1) && !stats.hangs(0) && stats.any_hangs());
        turn(1);
        assert!(!watched.hangs(&stats));
        assert!(!stats.any_hangs());
        assert!(!watched.hangs(&stats));
        assert!(watched.hangs(&stats), "as if it had never hung");
    }
}
