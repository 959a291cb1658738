//! How far the sending side is, for the receiving side to read: written by one thread, read by
//! another.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Progress of a run.
#[derive(Debug, Default)]
pub struct Progress {
    events: AtomicU32,
    announced: AtomicU32,
    settled: AtomicU32,
    is_stopping: AtomicBool,
    has_ended: AtomicBool,
}

impl Progress {
    /// One more than the highest event number there will be.
    #[inline]
    pub fn events(&self) -> u32 {
        self.events.load(Ordering::Relaxed)
    }

    /// Says how many events there will be.
    pub fn set_events(&self, events: u32) {
        self.events.store(events, Ordering::Relaxed);
    }

    /// Events before this number may have been written to the server already; none from it on.
    pub fn announced(&self) -> u32 {
        self.announced.load(Ordering::SeqCst)
    }

    /// Says, before it is done, that all events before this number are about to be written.
    pub fn announce(&self, until: u32) {
        self.announced.store(until, Ordering::SeqCst);
    }

    /// Events before this number are settled: the server has handed them on.
    pub fn settled(&self) -> u32 {
        self.settled.load(Ordering::SeqCst)
    }

    /// Says that the server has settled all events before this number.
    pub fn settle(&self, until: u32) {
        self.settled.store(until, Ordering::SeqCst);
    }

    /// Whether sending shall end early.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    /// Asks for sending to end early.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
    }

    /// Whether sending has ended, well or badly.
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    /// Says that nothing more is sent.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
    }
}
