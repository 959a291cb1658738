//! The server in pieces: the real router and reactors, on rings and sockets that the simulation serves.
//!
//! Put together as `shopwire::server` does it, but for three things: nobody sleeps, so nothing turns
//! before it is told to; the rings downwards are cut in two, and the simulation carries messages from one
//! half to the other when it likes; and what a browser connects to is not the port but a pair of sockets.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream, UnixListener};
use mio::{Events, Poll};
use shopwire::clock::{Now, WallClock};
use shopwire::config::Config;
use shopwire::engine::DOORBELL;
use shopwire::event::NameHasher;
use shopwire::limits;
use shopwire::reactor::Reactor;
use shopwire::ring::{self, Doorbell, Receiver, Sender, Serial, ToReactor, ToRouter};
use shopwire::router::{self, Ingest, Router};
use shopwire::server::past::Past;
use shopwire::shared::Shared;
use socket2::SockRef;

use crate::disk::Disk;
use crate::log::{Found, Last, Log};

/// What a server is made of, beside its settings.
pub struct Ground {
    pub config: Config,
    /// Where emitters come in.
    pub socket: PathBuf,
    pub disk: Disk,
    pub wall: WallClock,
    /// How many messages a ring from the router, and one to it, takes.
    pub rings: (usize, usize),
    /// Bytes that a browser's socket takes, as `SO_SNDBUF` counts them.
    pub send_buffer: usize,
}

/// A running server.
pub struct Server {
    pub shared: Arc<Shared>,
    router: Router,
    poll: Poll,
    reactors: Vec<Seat>,
    events: Events,
    send_buffer: usize,
    /// Connections so far.
    serial: Serial,
}

/// A reactor, and the simulation's ends of the rings between the router and it.
struct Seat {
    reactor: Reactor,
    poll: Poll,
    from_router: Receiver<ToReactor>,
    to_reactor: Sender<ToReactor>,
    progress: Progress,
    /// Messages that wait for its next turn.
    waiting: usize,
}

/// How far a reactor has come.
#[derive(Clone, Copy)]
pub struct Progress {
    /// The newest event that was put into its ring.
    pub handed: u64,
    /// The newest one that it has certainly taken out.
    pub taken: u64,
}

impl Server {
    /// Starts one on what the last one has left.
    pub fn start(ground: &Ground, log: &mut Log, last: &Last, now: Instant) -> Server {
        let config = ground.config.clone();
        let (workers, hasher) = (config.workers, NameHasher::fixed());
        ground.disk.begin();
        let at: Now = ground.wall.at(now);
        let mut past = Past::Nothing;
        past.add_journal(&config, &hasher, at).unwrap();
        let runs = past.runs(&config, at.wall_ms);
        let found = Found {
            newest: past.newest(),
            blocks: past.blocks(),
            runs: runs.all().collect(),
        };
        log.restart(&found, last, now);
        let mut shared = Shared::new(config, hasher, runs, now).unwrap();
        shared.wall = ground.wall.clone();
        let shared = Arc::new(shared);

        let (poll, bell) = station();
        let (mut lanes, mut reactors) = (Vec::new(), Vec::new());
        for index in 0..workers {
            let (own_poll, own_bell) = station();
            let (down, from_router) = ring::channel(ground.rings.0, &bell, &own_bell);
            let (to_reactor, ring) = ring::channel(limits::DOWN_RING, &bell, &own_bell);
            let (uplink, up) = ring::channel::<ToRouter>(ground.rings.1, &own_bell, &bell);
            lanes.push(router::Lane { down, up });
            let registry = own_poll.registry().try_clone().unwrap();
            let mut reactor = Reactor::new(Arc::clone(&shared), index, registry, ring, uplink, now);
            reactor.go_on(past.newest(), past.blocks());
            let progress = Progress {
                handed: past.newest(),
                taken: past.newest(),
            };
            reactors.push(Seat {
                reactor,
                poll: own_poll,
                from_router,
                to_reactor,
                progress,
                waiting: 0,
            });
        }
        let disk = ground.disk.clone();
        let (sequencer, journal) = past.go_on(&shared, |_| Ok(Box::new(disk)), at).unwrap();
        let registry = poll.registry().try_clone().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let ingest = UnixListener::bind(&ground.socket).unwrap();
        let found = std::fs::symlink_metadata(&ground.socket).unwrap();
        let ingest = Ingest {
            listener: ingest,
            path: ground.socket.clone(),
            file: (found.dev(), found.ino()),
        };
        let router = Router::new(
            Arc::clone(&shared),
            registry,
            listener,
            ingest,
            sequencer,
            journal,
            lanes,
        );
        Server {
            shared,
            router: router.unwrap(),
            poll,
            reactors,
            events: Events::with_capacity(256),
            send_buffer: ground.send_buffer,
            serial: 0,
        }
    }

    /// How far this reactor has come.
    pub fn progress(&self, reactor: usize) -> Progress {
        self.reactors[reactor].progress
    }

    /// A browser's connection to this reactor, as if it had come by the port.
    pub fn connect(&mut self, reactor: usize) -> UnixStream {
        let (theirs, ours) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        ours.set_nonblocking(true).unwrap();
        SockRef::from(&ours)
            .set_send_buffer_size(self.send_buffer)
            .unwrap();
        assert!(self.shared.admission.enter_socket(), "there are few");
        // The reactor reads and writes it, and asks nothing that only TCP could answer.
        let ours = std::net::TcpStream::from(OwnedFd::from(ours));
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let seat = &mut self.reactors[reactor];
        self.serial += 1;
        seat.send(ToReactor::Socket(
            TcpStream::from_std(ours),
            ip,
            self.serial,
        ));
        theirs
    }

    /// One turn of the router. Returns whether anything happened at its sockets.
    pub fn turn_router(&mut self, now: Instant) -> bool {
        poll(&mut self.poll, &mut self.events);
        for event in self.events.iter().filter(|event| event.token() != DOORBELL) {
            self.router.on_event(event);
        }
        let had_work = !self.events.is_empty() || self.router.has_work();
        self.router.turn(now);
        self.router.acknowledge();
        had_work
    }

    /// One turn of a reactor. Returns whether anything happened at its sockets, or it has more to do.
    pub fn turn_reactor(&mut self, reactor: usize, now: Instant) -> bool {
        let seat = &mut self.reactors[reactor];
        poll(&mut seat.poll, &mut self.events);
        for event in self.events.iter().filter(|event| event.token() != DOORBELL) {
            seat.reactor.on_event(event);
        }
        let had_work = !self.events.is_empty() || seat.reactor.has_work();
        seat.reactor.turn(now);
        if seat.waiting <= limits::BLOCKS_PER_TURN {
            seat.progress.taken = seat.progress.handed;
        }
        seat.waiting = seat.waiting.saturating_sub(limits::BLOCKS_PER_TURN);
        had_work
    }

    /// Carries up to so many messages from the router towards a reactor. Returns how many there were.
    pub fn carry(&mut self, reactor: usize, most: usize, log: &mut Log) -> usize {
        let seat = &mut self.reactors[reactor];
        for count in 0..most {
            if seat.waiting >= limits::BLOCKS_PER_TURN {
                return count;
            }
            let Some(message) = seat.from_router.take() else {
                return count;
            };
            if let ToReactor::Block(block) = &message {
                seat.progress.handed = log.pass(block, seat.progress.handed);
            }
            seat.send(message);
        }
        most
    }

    /// Asks it to end in good order.
    pub fn begin_drain(&mut self, now: Instant) {
        self.router.begin_drain(now);
    }

    /// Whether it has ended in good order.
    pub fn is_done(&self) -> bool {
        self.router.is_done()
    }

    /// Whether it was asked to end.
    pub fn is_draining(&self) -> bool {
        self.shared.admission.is_draining()
    }

    /// Connections that were closed because they read too slowly.
    pub fn slow_consumers(&self) -> u64 {
        let stats = &self.shared.stats.reactors;
        stats.iter().map(|each| each.slow_consumers()).sum()
    }

    /// When something happens by time alone.
    pub fn deadline(&self) -> Option<Instant> {
        let reactors = self
            .reactors
            .iter()
            .filter_map(|seat| seat.reactor.deadline());
        let router = [self.router.deadline(), self.router.gathers_until()];
        router.into_iter().flatten().chain(reactors).min()
    }

    /// Its process ends here; everything it has handed out counts, also what is on its way.
    pub fn end(mut self, log: &mut Log) {
        for seat in &mut self.reactors {
            while let Some(message) = seat.from_router.take() {
                if let ToReactor::Block(block) = &message {
                    seat.progress.handed = log.pass(block, seat.progress.handed);
                }
            }
        }
    }
}

impl Seat {
    fn send(&mut self, message: ToReactor) {
        self.waiting += 1;
        self.to_reactor.send(message);
        assert!(
            self.to_reactor.notify(),
            "this half of the ring is long enough"
        );
    }
}

fn station() -> (Poll, Arc<Doorbell>) {
    let poll = Poll::new().unwrap();
    let bell = Doorbell::new(poll.registry(), DOORBELL).unwrap();
    (poll, bell)
}

fn poll(poll: &mut Poll, events: &mut Events) {
    poll.poll(events, Some(Duration::ZERO)).unwrap();
}
