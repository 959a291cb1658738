//! What a reload changes for those who are connected.
//!
//! Part of the reactor. Most of what is new counts when somebody comes or shows a token. Rates and the
//! access table count for everybody at once: whoever may not see a namespace any more is told.

use std::sync::Arc;

use super::Reactor;
use crate::config::Config;
use crate::limits;
use crate::live::Live;
use crate::rate::Rate;

/// How much a client may say.
pub(super) struct Rates {
    pub(super) messages: Rate,
    pub(super) controls: Rate,
    /// So many refusals in a minute end a connection.
    pub(super) refusals_max: u32,
}

impl Rates {
    pub(super) fn of(config: &Config) -> Self {
        let messages = config.message_rate;
        Self {
            messages: Rate::per_minute(messages),
            controls: Rate::per_minute(messages.saturating_mul(limits::CONTROL_RATE_FACTOR)),
            refusals_max: messages.max(limits::REFUSALS_MIN),
        }
    }
}

impl Reactor {
    /// From now on this is in force. What came before through the ring is sent.
    pub(super) fn renew(&mut self, live: Arc<Live>) {
        self.rates = Rates::of(&live.config);
        let has_new_table = live.config.access != self.live.config.access;
        self.live = live;
        if has_new_table {
            self.directory.set_access(self.live.config.access.clone());
            self.hold_to_access();
        }
    }

    /// Ends subscriptions that the access table does not allow any more.
    fn hold_to_access(&mut self) {
        for key in self.open_ones(|_, _| true) {
            self.note_change(key);
            let old = self.directory.subscribed(key);
            if self.directory.drop_hidden(key).is_empty() {
                continue;
            }
            let now = self.directory.subscribed(key);
            self.shared.stats.reactors[self.index].resubscribed(old, now);
            self.answers.unsubscribed(now, &mut self.out);
            self.send_out(key);
        }
    }
}
