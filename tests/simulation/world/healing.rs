//! The end of a run: everything works again, and whoever is owed something must get it.
//!
//! Part of the world. Time passes only when nothing else happens, and then to the next moment that the
//! server waits for: so a wake-up that it forgets shows as a run that comes to nothing.

use std::time::Duration;

use super::World;
use crate::browser::Context;
use crate::emitter::Emitter;
use crate::log::End;
use crate::server::Server;

/// Within this time everything must have come.
const PATIENCE: Duration = Duration::from_secs(120);
/// Rounds in which something happens, without any time passing, before that is a fault.
const ROUNDS: usize = 10_000;

impl World {
    /// Everything works from now on: whoever is owed something must get it.
    pub(super) fn heal(&mut self) {
        self.note(|| "everything heals".to_owned());
        self.ground.disk.set_room(None);
        self.ghosts.clear();
        for browser in &mut self.browsers {
            browser.is_stalled = false;
        }
        let until = self.elapsed + PATIENCE;
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(
                rounds < ROUNDS,
                "it does not come to rest: {}",
                self.state()
            );
            // What the last one to act has done, the first one sees in the next round.
            if self.round() || self.round() {
                continue;
            }
            if self.is_served() {
                break;
            }
            assert!(self.elapsed < until, "not all is served: {}", self.state());
            let now = self.now();
            let due = self.server.as_ref().and_then(Server::deadline);
            let due = due.unwrap_or_else(|| panic!("nothing happens any more: {}", self.state()));
            // Timers count in steps: a little later is never too early.
            let time = due.saturating_duration_since(now) + Duration::from_micros(100);
            self.note(|| format!("nothing happens for {time:?}"));
            self.pass(time);
            // Those who were told `unavailable` try again after a while.
            for emitter in &mut self.emitters {
                emitter.repeat();
            }
            rounds = 0;
        }
        self.note(|| "all are served".to_owned());
        self.end(End::Killed);
        self.start();
    }

    /// Lets everything through once. Whether anything happened.
    fn round(&mut self) -> bool {
        if self.server.is_none() {
            self.start();
            return true;
        }
        let mut happened = false;
        for emitter in 0..self.emitters.len() {
            happened |= self.serve_emitter(emitter, usize::MAX, usize::MAX);
        }
        let is_draining = self.server.as_ref().is_some_and(Server::is_draining);
        for browser in 0..self.browsers.len() {
            if self.browsers[browser].is_connected() || !is_draining {
                happened |= self.serve_browser(browser, usize::MAX, usize::MAX);
            }
        }
        happened |= self.turn_router();
        for reactor in 0..self.ground.config.workers {
            happened |= self.carry(reactor, usize::MAX);
            happened |= self.turn_reactor(reactor);
        }
        while self.work_disk(false) {
            happened = true;
        }
        happened
    }

    fn is_served(&mut self) -> bool {
        let context = Context {
            log: &mut self.log,
            server: self.server.as_ref(),
            is_draining: false,
            now: self.begun + self.elapsed,
            tally: &mut self.tally,
        };
        self.emitters.iter().all(Emitter::is_settled)
            && self
                .browsers
                .iter()
                .all(|browser| browser.is_served(&context))
    }

    fn state(&mut self) -> String {
        let context = Context {
            log: &mut self.log,
            server: self.server.as_ref(),
            is_draining: false,
            now: self.begun + self.elapsed,
            tally: &mut self.tally,
        };
        let settled = self.emitters.iter().map(Emitter::is_settled);
        let mut state = format!("emitters settled: {:?}", settled.collect::<Vec<_>>());
        for browser in &self.browsers {
            state += &format!("; {}", browser.state(&context));
        }
        state
    }
}
