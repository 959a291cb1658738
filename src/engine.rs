//! Drives a router, a reactor, or both in one loop.
//!
//! Where there is one worker, router and reactor share one thread and one poll: the ring between
//! them never wakes anybody, and an event costs one sleep, not two. With more workers the router
//! has a thread of its own, and so has every reactor. The parts are the same; only who turns them
//! differs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::limits;
use crate::reactor::Reactor;
use crate::ring::Doorbell;
use crate::router::Router;
use crate::shared::Shared;

/// The token of every loop's doorbell.
pub const DOORBELL: Token = Token(usize::MAX);

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

/// What signals ask of the router: set from outside, with a ring of the doorbell.
#[derive(Default)]
pub struct Orders {
    /// Drain.
    pub drain: AtomicBool,
    /// Read settings, keys and certificates again.
    pub reload: AtomicBool,
}

impl Orders {
    fn are_given(&self) -> bool {
        self.drain.load(Ordering::Relaxed) || self.reload.load(Ordering::Relaxed)
    }
}

/// One thread's loop.
pub struct Engine {
    /// The poll that both parts are registered with.
    pub poll: Poll,
    /// Wakes this loop.
    pub doorbell: Arc<Doorbell>,
    /// The router, if it runs on this thread.
    pub router: Option<Router>,
    /// A reactor, if one runs on this thread.
    pub reactor: Option<Reactor>,
    /// What the router shall do, where it runs on this thread.
    pub orders: Arc<Orders>,
    /// Where the loop tells of its turns ...
    pub shared: Arc<Shared>,
    /// ... as the loop with this number: its reactor's, or the one behind the last for the router's own.
    pub number: usize,
}

impl Engine {
    /// Runs until the drain is over.
    ///
    /// # Errors
    /// If the poll itself fails, which leaves nothing to go on with.
    pub fn run(mut self) -> io::Result<()> {
        if let Some(router) = &mut self.router {
            router.begin();
        }
        let mut events = Events::with_capacity(EVENTS);
        let mut now = Instant::now();
        while !self.is_done() {
            let mut due = None;
            let timeout = if self.gather(now) {
                Some(Duration::ZERO)
            } else {
                self.doorbell.about_to_sleep();
                if self.has_work() {
                    Some(Duration::ZERO)
                } else {
                    due = self.deadline();
                    due.map(|due| due.saturating_duration_since(now))
                }
            };
            let polled = self.poll.poll(&mut events, timeout);
            self.doorbell.awake();
            match polled {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            self.hand_out(&events);
            let began = Instant::now();
            self.turn(began);
            now = Instant::now();
            self.end_turn(began, now, due);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.router.as_ref().is_none_or(Router::is_done)
            && self.reactor.as_ref().is_none_or(Reactor::is_done)
    }

    /// Lets events come while the router gathers them. Not by the poll, which would wake for each,
    /// and which counts in milliseconds. False: nothing is being gathered.
    fn gather(&self, now: Instant) -> bool {
        let Some(until) = self.router.as_ref().and_then(Router::gathers_until) else {
            return false;
        };
        if !self.has_work() {
            let left = until.saturating_duration_since(now);
            std::thread::sleep(left.min(limits::GATHER_NAP));
        }
        true
    }

    fn has_work(&self) -> bool {
        self.orders.are_given()
            || self.router.as_ref().is_some_and(Router::has_work)
            || self.reactor.as_ref().is_some_and(Reactor::has_work)
    }

    /// When there is something to do although nothing happens.
    fn deadline(&self) -> Option<Instant> {
        let router = self.router.as_ref().and_then(Router::deadline);
        let reactor = self.reactor.as_ref().and_then(Reactor::deadline);
        router.into_iter().chain(reactor).min()
    }

    /// Tells the reactor and the statistics how long a turn took, and how late it came to what was due.
    fn end_turn(&mut self, began: Instant, ended: Instant, due: Option<Instant>) {
        if let Some(reactor) = &mut self.reactor {
            reactor.end_turn(began, ended);
        }
        let stats = self.shared.stats.of_loop(self.number);
        stats.turns.record(micros(ended - began), 1);
        if let Some(due) = due
            && due <= began
        {
            stats.lag.record(micros(began - due), 1);
        }
    }

    fn hand_out(&mut self, events: &Events) {
        for event in events {
            if event.token() == DOORBELL {
                continue;
            }
            if Router::owns(event.token()) {
                if let Some(router) = &mut self.router {
                    router.on_event(event);
                }
            } else if let Some(reactor) = &mut self.reactor {
                reactor.on_event(event);
            }
        }
    }

    /// One pass of both parts.
    fn turn(&mut self, now: Instant) {
        if let Some(router) = &mut self.router {
            if self.orders.drain.swap(false, Ordering::Relaxed) {
                router.begin_drain(now);
            }
            if self.orders.reload.swap(false, Ordering::Relaxed) {
                router.reload();
            }
            router.turn(now);
        }
        if let Some(reactor) = &mut self.reactor {
            reactor.turn(now);
        }
        if let Some(router) = &mut self.router {
            router.acknowledge();
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
