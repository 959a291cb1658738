//! A timer that wakes a poll up on time: the poll's own timeout counts in whole milliseconds.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Readable once it has rung.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// A timer that does not ring yet.
    ///
    /// # Errors
    /// Where the kernel gives none.
    pub fn new() -> Result<Self, String> {
        timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)
            .map(Self)
            .map_err(|error| format!("cannot make a timer: {error}"))
    }

    /// Rings at `time`, or at once if that is over.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn ring_at(&self, time: Instant) -> Result<(), String> {
        let left = time.saturating_duration_since(Instant::now());
        let value = Timespec {
            tv_sec: left.as_secs() as i64,
            // Zero would be never.
            tv_nsec: i64::from(left.subsec_nanos().max(1)),
        };
        let never_again = Timespec::default();
        let once = Itimerspec {
            it_interval: never_again,
            it_value: value,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)
            .map(drop)
            .map_err(|error| format!("cannot set a timer: {error}"))
    }
}

impl Source for Timer {
    fn register(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).register(registry, token, Interest::READABLE)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).reregister(registry, token, Interest::READABLE)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_poll_wakes_up_between_two_milliseconds() {
        let mut poll = mio::Poll::new().unwrap();
        let mut events = mio::Events::with_capacity(1);
        let mut timer = Timer::new().unwrap();
        let registry = poll.registry();
        registry
            .register(&mut timer, Token(0), Interest::READABLE)
            .unwrap();
        // Each is set anew without having been read, and rings all the same.
        for _ in 0..3 {
            let start = Instant::now();
            timer.ring_at(start + Duration::from_micros(300)).unwrap();
            poll.poll(&mut events, Some(Duration::from_secs(5)))
                .unwrap();
            let waited = start.elapsed();
            assert!(waited >= Duration::from_micros(300), "{waited:?}");
            assert!(waited < Duration::from_secs(4), "{waited:?}");
        }
    }
}
