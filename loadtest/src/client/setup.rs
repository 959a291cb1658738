//! How long connections take to be set up, step by step.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::recorder::histogram;

/// What a new connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// From connect(), or where connections come by rate from when it was due, to the answer to the
    /// handshake.
    Upgrade,
    /// From sending the token to its acceptance.
    Authenticate,
    /// From asking for the subscription to its confirmation.
    Subscribe,
    /// All of it, from where [`Step::Upgrade`] begins.
    Whole,
}

/// The times of all connections of a run.
#[derive(Debug)]
pub struct Setup {
    /// [`Step::Upgrade`], in microseconds.
    pub upgrade: Histogram<u64>,
    /// [`Step::Authenticate`], in microseconds.
    pub authenticate: Histogram<u64>,
    /// [`Step::Subscribe`], in microseconds.
    pub subscribe: Histogram<u64>,
    /// [`Step::Whole`], in microseconds.
    pub whole: Histogram<u64>,
}

impl Setup {
    /// Nothing recorded.
    pub fn new() -> Self {
        Self {
            upgrade: histogram(),
            authenticate: histogram(),
            subscribe: histogram(),
            whole: histogram(),
        }
    }

    /// Records that a connection has waited so long for a step.
    pub fn record(&mut self, step: Step, waited: Duration) {
        let histogram = match step {
            Step::Upgrade => &mut self.upgrade,
            Step::Authenticate => &mut self.authenticate,
            Step::Subscribe => &mut self.subscribe,
            Step::Whole => &mut self.whole,
        };
        let waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        histogram.saturating_record(waited_us.max(1));
    }
}
