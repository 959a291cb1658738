//! What the outboxes of all connections may hold together: while it is more, the fattest go.
//!
//! Part of the reactor. Every turn tells what this reactor's outboxes hold in its statistics, a
//! counter with one writer, and reads the others' only where its own is over an equal share. So
//! there is no lock, and reactors that are unevenly loaded still share one budget. If the sum is
//! over it, at least one reactor holds more than its share, and there connections are looked
//! through; never for an event, and never while all is well. Reactors that find it out in the same
//! moment may close a few more between them than one would have. The back office comes last: what the storefront leaves
//! unread costs it nothing.

use super::Reactor;
use super::connection::Stage;
use super::outbox::Outbox;
use crate::log_throttle::held_back;
use crate::wire::CloseReason;

impl Reactor {
    /// Tells what the outboxes hold, and closes those for whom most waits until that is within the
    /// budget.
    pub(super) fn keep_budget(&mut self) {
        let stats = &self.shared.stats.reactors[self.index];
        stats.conflated.set(self.writing.backlog.conflated());
        if !self.tell_backlog() {
            return;
        }
        let sum = self.shared.stats.outbox_bytes();
        if let Some(held) = self.slow.admit(self.now) {
            let (budget, held) = (self.shared.config.outbox_budget, held_back(held));
            log::warn!(
                "{sum} bytes wait for slow connections, over the budget of {budget}: those for whom most waits are closed{held}"
            );
        }
        for key in self.fattest_first() {
            self.close(key, CloseReason::SlowConsumer);
            if !self.tell_backlog() {
                return;
            }
        }
    }

    /// Tells what the outboxes hold; answers whether that is too much.
    fn tell_backlog(&self) -> bool {
        let (stats, budget) = (&self.shared.stats, self.shared.config.outbox_budget);
        let held = self.writing.backlog.held();
        stats.reactors[self.index].outbox_bytes.set(held as u64);
        held > budget / stats.reactors.len() && stats.outbox_bytes() > budget as u64
    }

    /// The open connections for which anything waits, from the most that waits to the least, the back office
    /// behind all others.
    fn fattest_first(&self) -> Vec<u32> {
        let mut waiting: Vec<(bool, usize, u32)> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.stage == Stage::Open)
            .filter(|(_, connection)| connection.is_waiting())
            .map(|(key, connection)| {
                let plain = connection.outbox().map_or(0, Outbox::length);
                let key = key as u32;
                let waiting = plain + connection.sealed_waiting();
                (!self.is_back_office(key), waiting, key)
            })
            .collect();
        waiting.sort_unstable_by(|one, other| other.cmp(one));
        waiting.into_iter().map(|(.., key)| key).collect()
    }
}
