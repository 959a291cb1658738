//! The canary: an event of the server's own that goes from the ingest socket to WebSockets of its own, one
//! on each worker, again and again, to show that delivery works.
//!
//! A process may live, take connections and deliver nothing: a probe that only asks it does not see that.
//! This one is an emitter and some browsers, in one thread, with nothing but the sockets that others have, so
//! that whatever holds up their events holds up its, too: the router, any reactor, Redis, the port, TLS.
//! Its events name its user, whom nobody else can be, so nobody else sees them.
//!
//! In one thing it is not like others: the router asks it to which worker a connection of its own belongs, and
//! does not hash that. Else it would be by chance which workers it shows.
//!
//! Owns what is known of it: [`crate::shared`] has one where the setting says so, the router tells it what
//! is in force, `/readyz` and the metrics read it. [`flight`] has the sockets.

mod flight;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::auth::OwnPass;
use crate::limits;
use crate::live::Live;
use crate::logging::rounded;
use crate::shared::Shared;
use crate::stats::{Counter, Times};
use flight::Flight;

/// What its user is called.
const NAME: &str = "shopwire-canary";

/// One that flies, or will once the server serves.
pub struct Canary {
    pass: Arc<OwnPass>,
    every: Duration,
    /// What is in force, for the next time that it connects; empty only while the server is being made.
    live: Mutex<Option<Arc<Live>>>,
    /// When it was sent off first.
    since: OnceLock<Instant>,
    /// When it came back last, in microseconds behind that; 0 before the first time.
    returned: AtomicU64,
    /// The worker that its next connection is for, above the port that this one comes from; 0 before the first.
    next: AtomicU64,
    /// What its events took, from the line on the ingest socket to the frame.
    pub round_trips: Times,
    /// Times that it did not come back.
    pub failures: Counter,
}

impl Canary {
    /// One that is sent off so often.
    ///
    /// # Errors
    /// A sentence, if the operating system gives no randomness.
    pub fn new(every: Duration) -> Result<Self, String> {
        Ok(Self {
            pass: Arc::new(OwnPass::new(NAME)?),
            every,
            live: Mutex::default(),
            since: OnceLock::new(),
            returned: AtomicU64::new(0),
            next: AtomicU64::new(0),
            round_trips: Times::default(),
            failures: Counter::default(),
        })
    }

    /// How it comes in.
    pub fn pass(&self) -> &Arc<OwnPass> {
        &self.pass
    }

    /// From now on this is in force.
    pub fn renew(&self, live: Arc<Live>) {
        // A pointer is whole whatever happened to the thread that held the lock.
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(live);
    }

    fn live(&self) -> Option<Arc<Live>> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.clone()
    }

    /// A connection from this port of this host will be for that worker.
    fn send_to(&self, worker: usize, port: u16) {
        let next = (worker as u64) << 16 | u64::from(port);
        self.next.store(next, Ordering::Release);
    }

    /// The worker for a connection from there, if it is the canary's own. Another one from the same port, at
    /// another address, loses nothing by going there.
    pub fn worker_for(&self, from: SocketAddr) -> Option<usize> {
        let next = self.next.load(Ordering::Acquire);
        (next & 0xFFFF == u64::from(from.port())).then_some((next >> 16) as usize)
    }

    /// How long ago it came back, or was sent off first; zero before that.
    pub fn age(&self, now: Instant) -> Duration {
        let Some(since) = self.since.get() else {
            return Duration::ZERO;
        };
        let returned = Duration::from_micros(self.returned.load(Ordering::Relaxed));
        now.saturating_duration_since(*since + returned)
    }

    /// How old it may become before it counts as missing: three times in a row without it, the last
    /// one waited for.
    pub fn age_max(&self) -> Duration {
        self.every * 3 + limits::CANARY_PATIENCE
    }

    /// Whether it has not come back for too long. Told by the time alone, so that it is known also where
    /// its thread hangs.
    pub fn is_missing(&self, now: Instant) -> bool {
        self.age(now) > self.age_max()
    }

    fn came_back(&self, took: Duration, now: Instant) {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.round_trips.record(micros(took), 1);
        if let Some(since) = self.since.get() {
            let returned = micros(now.saturating_duration_since(*since));
            self.returned.store(returned, Ordering::Relaxed);
        }
    }
}

/// Sends the canary off, where there is one, to the server at `address`. Its thread ends when the server
/// drains, and with the process.
///
/// # Errors
/// If the thread cannot be started.
pub fn start(shared: Arc<Shared>, address: SocketAddr) -> io::Result<()> {
    if shared.canary.is_none() {
        return Ok(());
    }
    thread::Builder::new()
        .name("canary".to_owned())
        .spawn(move || {
            if let Some(canary) = &shared.canary {
                fly(canary, &shared, address);
            }
        })
        .map(drop)
}

fn fly(canary: &Canary, shared: &Shared, address: SocketAddr) {
    let mut flight: Option<Flight> = None;
    let mut is_told_missing = false;
    let mut number = 0;
    canary.since.get_or_init(Instant::now);
    while !shared.admission.is_draining() {
        let began = Instant::now();
        number += 1;
        // One that is old goes before another comes, which may need its places.
        let came_back = match flight.take().filter(|open| !open.is_old(began)) {
            Some(open) => Ok(open),
            None => take_off(canary, shared, address),
        }
        .and_then(|mut open| Ok((open.send_off(number)?, open)));
        if shared.admission.is_draining() {
            return;
        }
        let now = Instant::now();
        match came_back {
            Ok((took, open)) => {
                canary.came_back(took, now);
                flight = Some(open);
                if std::mem::take(&mut is_told_missing) {
                    log::info!(round_trip_ms = rounded(took.as_secs_f64() * 1000.0); "the canary comes back again");
                }
            }
            Err(why) => {
                canary.failures.add(1);
                log::debug!("the canary did not come back: {why}");
                if canary.is_missing(now) && !std::mem::replace(&mut is_told_missing, true) {
                    let age = canary.age(now).as_secs();
                    log::error!(
                        "the canary has not come back for {age} s, so that /readyz says 503: {why}"
                    );
                }
            }
        }
        let next = began + canary.every;
        match &mut flight {
            Some(open) => {
                if let Err(why) = open.rest_until(next) {
                    log::debug!("the canary's connection ended: {why}");
                    flight = None;
                }
            }
            None => thread::sleep(next.saturating_duration_since(Instant::now())),
        }
    }
}

fn take_off(canary: &Canary, shared: &Shared, address: SocketAddr) -> Result<Flight, String> {
    let live = canary.live().ok_or("the server is still being made")?;
    let workers = shared.stats.reactors.len();
    Flight::open(canary, address, workers, &live, shared.wall.ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_missing_when_it_was_not_seen_three_times_in_a_row() {
        let canary = Canary::new(Duration::from_secs(10)).unwrap();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!canary.is_missing(at(1000)), "it has not been sent off");
        canary.since.get_or_init(|| start);
        assert_eq!(canary.age_max(), Duration::from_secs(32));
        assert!(!canary.is_missing(at(32)) && canary.is_missing(at(33)));
        canary.came_back(Duration::from_millis(1), at(40));
        assert_eq!(canary.age(at(41)), Duration::from_secs(1));
        assert!(!canary.is_missing(at(72)) && canary.is_missing(at(73)));
        assert_eq!(canary.round_trips.total(), 1);
    }

    #[test]
    fn its_connections_are_told_by_their_ports() {
        let canary = Canary::new(Duration::from_secs(10)).unwrap();
        let from = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(canary.worker_for(from(4000)), None);
        canary.send_to(0, 4000);
        assert_eq!(canary.worker_for(from(4000)), Some(0));
        canary.send_to(1023, 65_535);
        assert_eq!(canary.worker_for(from(65_535)), Some(1023));
        assert_eq!(canary.worker_for(from(4000)), None);
    }
}
