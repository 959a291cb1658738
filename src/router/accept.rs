//! Takes connections off the port and hashes each to a reactor.
//!
//! Owned by the router. A connection is refused here only when the server is so full of sockets
//! that it could not even answer; every other refusal is an HTTP answer from a reactor.

use std::hash::BuildHasher;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use rustix::net::UCred;

use super::Lane;
use crate::emitters::UserId;
use crate::limits;
use crate::log_throttle::{LogThrottle, held_back};
use crate::ring::{Serial, ToReactor};
use crate::shared::Shared;

/// How long to leave the listener alone when the process has no file descriptor left.
const RETRY: Duration = Duration::from_millis(100);

/// A reactor's tokens have so many bits for it; the next one belongs to the router's.
const SERIAL_MAX: Serial = 0x7FFF_FFFF;

/// A listener's readiness between turns. The poll tells once that somebody waits; from then on it
/// is for us to remember, also over a moment without file descriptors.
#[derive(Default)]
pub struct Waiting {
    somebody: bool,
    /// The last accept failed for want of resources: try again then.
    retry_at: Option<Instant>,
    failures: LogThrottle,
}

impl Waiting {
    /// The poll says that somebody is waiting.
    pub fn ready(&mut self) {
        self.somebody = true;
    }

    /// Whether to turn again at once.
    pub fn is_ready(&self) -> bool {
        self.somebody && self.retry_at.is_none()
    }

    /// When to try again after a failure.
    pub fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether to accept in this turn.
    pub fn begin(&mut self, now: Instant) -> bool {
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
        }
        self.is_ready()
    }

    /// Takes note of a failed accept. True: the next one may be tried at once.
    pub fn failed(&mut self, error: &io::Error, now: Instant) -> bool {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.somebody = false;
            return false;
        }
        if is_resource_shortage(error) {
            if let Some(held) = self.failures.admit(now) {
                let held = held_back(held);
                log::error!("accepting failed and is tried again soon: {error}{held}");
            }
            self.retry_at = Some(now + RETRY);
            return false;
        }
        // The client went away between its handshake and our accept.
        log::debug!("accepting a connection failed: {error}");
        true
    }
}

/// Takes browsers' connections.
#[derive(Default)]
pub struct Accepting {
    pub(super) waiting: Waiting,
    hasher: hashbrown::DefaultHashBuilder,
    /// The number of the newest connection.
    pub(super) serial: Serial,
    refusals: LogThrottle,
}

impl Accepting {
    /// Takes a bounded number of connections and gives each to its reactor.
    pub fn accept(
        &mut self,
        listener: &TcpListener,
        shared: &Shared,
        now: Instant,
        lanes: &mut [Lane],
    ) {
        if !self.waiting.begin(now) {
            return;
        }
        for _ in 0..limits::ACCEPTS_PER_TURN {
            match listener.accept() {
                Ok((stream, address)) => {
                    if shared.admission.enter_socket() {
                        let lane = self.lane(address, shared, lanes.len());
                        self.serial = (self.serial + 1) & SERIAL_MAX;
                        let socket = ToReactor::Socket(stream, address.ip(), self.serial);
                        lanes[lane].down.send(socket);
                    } else if let Some(held) = self.refusals.admit(now) {
                        log::warn!(
                            "closed a new connection: too many sockets{}",
                            held_back(held)
                        );
                    }
                }
                Err(error) => {
                    if !self.waiting.failed(&error, now) {
                        return;
                    }
                }
            }
        }
    }

    /// The reactor for whoever comes from this address; one that hangs only where all do, or for the canary.
    fn lane(&self, address: SocketAddr, shared: &Shared, lanes: usize) -> usize {
        if lanes == 1 {
            return 0;
        }
        let canary = shared.canary.as_ref();
        if let Some(worker) = canary.and_then(|canary| canary.worker_for(address)) {
            return worker;
        }
        let first = (self.hasher.hash_one(address) % lanes as u64) as usize;
        let mut others = (0..lanes).map(|step| (first + step) % lanes);
        others
            .find(|&lane| !shared.stats.hangs(lane))
            .unwrap_or(first)
    }
}

fn is_resource_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error
        .raw_os_error()
        .is_some_and(|code| shortages.iter().any(|e| e.raw_os_error() == code))
}

/// Who is at the other end of a Unix socket (SO_PEERCRED, unix(7)); the one who connected, or began to.
pub fn peer(stream: BorrowedFd<'_>) -> Option<UCred> {
    rustix::net::sockopt::socket_peercred(stream)
        .inspect_err(|error| log::warn!("reading an emitter's credentials failed: {error}"))
        .ok()
}

/// The server's own user.
pub fn own_user() -> UserId {
    rustix::process::geteuid().as_raw()
}

/// Whether the peer of a Unix socket is the server's own user or root.
pub fn peer_is_operator(stream: BorrowedFd<'_>) -> bool {
    peer(stream).is_some_and(|peer| peer.uid.is_root() || peer.uid.as_raw() == own_user())
}
