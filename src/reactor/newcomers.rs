//! Who came and is no WebSocket yet, so that those who only hold a socket cannot keep everybody else out.
//!
//! Part of the reactor. While sockets are plenty nobody is looked at. Once few are left, each newcomer takes the place of
//! the one that has gone longest without becoming a WebSocket: one who sends its request at once is through
//! long before its turn comes.

use std::collections::VecDeque;

use super::Reactor;
use super::connection::Stage;
use crate::log_throttle::held_back;
use crate::ring::Serial;
use crate::wire::CloseReason;

/// Connections in the order in which they came; some are something else by now, or gone.
#[derive(Default)]
pub(super) struct Newcomers(VecDeque<(u32, Serial)>);

/// So many entries are kept before those that stand for nobody any more are looked for.
const SWEEP_AT: usize = 1024;

impl Reactor {
    /// The connection `key` has just come.
    pub(super) fn note_newcomer(&mut self, key: u32) {
        if self.shared.admission.is_crowded() {
            self.displace_newcomer();
        }
        if self.newcomers.0.len() >= SWEEP_AT + 2 * self.connections.len() {
            let mut all = std::mem::take(&mut self.newcomers.0);
            all.retain(|&one| self.is_newcomer(one));
            self.newcomers.0 = all;
        }
        let serial = self.connections[key as usize].generation;
        self.newcomers.0.push_back((key, serial));
    }

    /// Closes the one that has been here longest.
    fn displace_newcomer(&mut self) {
        while let Some(one) = self.newcomers.0.pop_front() {
            if self.is_newcomer(one) {
                if let Some(held) = self.crowding.admit(self.now) {
                    let (worker, held) = (self.index, held_back(held));
                    log::warn!(
                        worker;
                        "few sockets are left: closed a connection that was no WebSocket yet for a newer one{held}"
                    );
                }
                return self.remove(one.0, CloseReason::Gone);
            }
        }
    }

    fn is_newcomer(&self, (key, serial): (u32, Serial)) -> bool {
        self.connections
            .get(key as usize)
            .is_some_and(|each| each.generation == serial && each.stage != Stage::Open)
    }
}
