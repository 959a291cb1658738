//! The one thread in the middle: takes events in, puts them in order, hands them to every reactor.
//!
//! Owns the two listeners, the emitters, the sequencer, presence and the downward ends of the
//! rings. [`crate::engine`] drives it: events of the poll, then one `turn`. Everything that needs
//! one order or one place (ids, keys, presence) is here; nothing here ever touches a browser.

mod accept;
mod command;
mod emitter;
mod keys;
mod presence;
mod sequencer;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use slab::Slab;

use crate::event::{Epoch, EventType, Refusal, format_id};
use crate::limits;
use crate::log_throttle::{LogThrottle, held_back};
use crate::ring::{Receiver, Sender, ToReactor, ToRouter};
use crate::shared::Shared;
use command::Command;
use emitter::{Emitter, Next};
use presence::Presence;
pub use sequencer::{Now, Sequencer, wall_ms};

/// One reactor as the router sees it.
pub struct Lane {
    /// Frames, sockets and orders down.
    pub down: Sender<ToReactor>,
    /// Presence and client events up.
    pub up: Receiver<ToRouter>,
}

/// The router.
pub struct Router {
    shared: Arc<Shared>,
    registry: Registry,
    listener: TcpListener,
    accepting: accept::Accepting,
    emitters_waiting: accept::Waiting,
    ingest: Option<Ingest>,
    emitters: Slab<Emitter>,
    generation: u32,
    /// Emitters to look at this turn.
    ready: Vec<usize>,
    /// Emitters whose lines are settled and wait for their ack.
    unacked: Vec<usize>,
    /// The read buffer that is lent to whichever emitter is being read.
    spare: Vec<u8>,
    sequencer: Sequencer,
    epoch: Epoch,
    presence: Presence,
    lanes: Vec<Lane>,
    /// A `disconnect` that the reactors have not all answered.
    disconnect: Option<PendingDisconnect>,
    drain: Drain,
    refusals: LogThrottle,
}

/// The ingest socket, with its file.
pub struct Ingest {
    /// Where emitters come in.
    pub listener: UnixListener,
    /// The socket file, removed at a clean exit ...
    pub path: PathBuf,
    /// ... if it is still this one (device and inode): another server may have taken the path.
    pub file: (u64, u64),
}

struct PendingDisconnect {
    emitter: usize,
    generation: u32,
    reactors_left: usize,
    connections: usize,
}

/// How far the way out is gone.
enum Drain {
    No,
    /// Whole lines already in the emitters' sockets are being settled.
    Emitters {
        until: Instant,
    },
    /// The reactors say goodbye.
    Reactors {
        until: Instant,
        left: usize,
    },
    Done,
}

const ROUTER: usize = 1 << 63;
const LISTENER: Token = Token(ROUTER | 0xFFFF_FFFF);
const INGEST: Token = Token(ROUTER | 0xFFFF_FFFE);

impl Router {
    /// A router on the two listeners, registered with the poll behind `registry`.
    pub fn new(
        shared: Arc<Shared>,
        registry: Registry,
        mut listener: TcpListener,
        mut ingest: Ingest,
        sequencer: Sequencer,
        lanes: Vec<Lane>,
    ) -> io::Result<Self> {
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        registry.register(&mut ingest.listener, INGEST, Interest::READABLE)?;
        let epoch = shared.epoch;
        Ok(Self {
            shared,
            registry,
            listener,
            accepting: accept::Accepting::default(),
            emitters_waiting: accept::Waiting::default(),
            ingest: Some(ingest),
            emitters: Slab::new(),
            generation: 0,
            ready: Vec::new(),
            unacked: Vec::new(),
            spare: vec![0; limits::INGEST_READ],
            sequencer,
            epoch,
            presence: Presence::default(),
            lanes,
            disconnect: None,
            drain: Drain::No,
            refusals: LogThrottle::default(),
        })
    }

    /// Whether an event of the poll is the router's.
    pub fn owns(token: Token) -> bool {
        token.0 & ROUTER != 0
    }

    /// Takes note of an event of the poll.
    pub fn on_event(&mut self, event: &mio::event::Event) {
        match event.token() {
            LISTENER => self.accepting.waiting.ready(),
            INGEST => self.emitters_waiting.ready(),
            Token(token) => {
                let (key, generation) = (token & 0xFFFF_FFFF, (token & !ROUTER) >> 32);
                if let Some(emitter) = self.emitters.get_mut(key)
                    && emitter.generation as usize == generation
                {
                    emitter.readable |= event.is_readable() || event.is_read_closed();
                    self.ready.push(key);
                }
            }
        }
    }

    /// One pass: what came up, what came in, and all of it handed down.
    pub fn turn(&mut self, now: Now) {
        self.take_from_reactors(now);
        self.announce_gone(now);
        self.dispatch();
        self.accept_emitters(now.instant);
        self.read_emitters(now);
        self.accept_sockets(now.instant);
        self.advance_drain(now.instant);
        if self.dispatch() {
            self.acknowledge();
        }
    }

    /// Whether there is work that no event of the poll will tell of.
    pub fn has_work(&self) -> bool {
        self.lanes.iter().any(|lane| lane.up.has_messages())
            || self.accepting.waiting.is_ready()
            || self.emitters_waiting.is_ready()
            || (!self.is_clogged() && !self.ready.is_empty())
    }

    /// When the router has to turn again although nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        let drain = match self.drain {
            Drain::Emitters { until } | Drain::Reactors { until, .. } => Some(until),
            Drain::No | Drain::Done => None,
        };
        let accepting = [
            self.accepting.waiting.deadline(),
            self.emitters_waiting.deadline(),
        ];
        [self.presence.deadline(), drain]
            .into_iter()
            .chain(accepting)
            .flatten()
            .min()
    }

    /// Whether the drain is over and the process may end.
    pub fn is_done(&self) -> bool {
        matches!(self.drain, Drain::Done)
    }

    /// Begins the way out: no new emitters, no new WebSockets; what is in, is delivered.
    pub fn begin_drain(&mut self, now: Instant) {
        if !matches!(self.drain, Drain::No) {
            return;
        }
        log::info!(
            "draining: {} WebSockets are open",
            self.shared.admission.websockets()
        );
        self.shared.admission.begin_drain();
        self.remove_ingest_socket();
        for (key, emitter) in &mut self.emitters {
            let waiting = rustix::io::ioctl_fionread(emitter.stream.as_fd()).unwrap_or(0);
            emitter.drain_left = Some(waiting);
            emitter.readable = true;
            self.ready.push(key);
        }
        self.drain = Drain::Emitters {
            until: now + self.shared.config.drain_timeout,
        };
    }

    fn remove_ingest_socket(&mut self) {
        self.emitters_waiting = accept::Waiting::default();
        if let Some(mut ingest) = self.ingest.take() {
            if let Err(error) = self.registry.deregister(&mut ingest.listener) {
                log::debug!("deregistering the ingest socket failed: {error}");
            }
            ingest.remove_file();
        }
    }

    fn take_from_reactors(&mut self, now: Now) {
        let draining = !matches!(self.drain, Drain::No);
        for index in 0..self.lanes.len() {
            while let Some(message) = self.lanes[index].up.take() {
                match message {
                    // Nobody is announced at drain: the customers only move to another host.
                    ToRouter::CustomerArrived(_) | ToRouter::CustomerLeft(_) if draining => {}
                    ToRouter::CustomerArrived(user) => {
                        if self.presence.arrived(&user) {
                            self.announce(EventType::CustomerOnline, &user, now);
                        }
                    }
                    ToRouter::CustomerLeft(user) => self.presence.left(user, now.instant),
                    ToRouter::Published(line) => self.settle_published(&line, now),
                    ToRouter::Disconnected(connections) => self.on_disconnected(connections),
                    ToRouter::Drained => {
                        if let Drain::Reactors { left, .. } = &mut self.drain {
                            *left -= 1;
                        }
                    }
                }
            }
        }
    }

    fn announce(&mut self, kind: EventType, user: &str, now: Now) {
        self.sequencer
            .announce(kind, user, self.presence.online(), now);
        self.shared.stats.router.events_in.add(1);
    }

    fn announce_gone(&mut self, now: Now) {
        if !matches!(self.drain, Drain::No) {
            return;
        }
        while let Some(user) = self.presence.next_gone(now.instant) {
            self.announce(EventType::CustomerOffline, &user, now);
        }
    }

    fn settle_published(&mut self, line: &[u8], now: Now) {
        match self.sequencer.line(line, now) {
            Ok(_) => self.shared.stats.router.events_in.add(1),
            // The reactor has checked it by the same rules.
            Err(refusal) => log::error!("a published event was refused: {}", refusal.message),
        }
    }

    /// Hands finished blocks to every reactor. True: every reactor has taken all of them.
    fn dispatch(&mut self) -> bool {
        for block in self.sequencer.take_blocks() {
            for lane in &mut self.lanes {
                lane.down.send(ToReactor::Block(Arc::clone(&block)));
            }
        }
        let mut clear = true;
        for lane in &mut self.lanes {
            clear &= lane.down.notify();
        }
        clear
    }

    fn is_clogged(&self) -> bool {
        self.lanes.iter().any(|lane| lane.down.waiting() > 0)
    }

    fn accept_emitters(&mut self, now: Instant) {
        while self.emitters_waiting.begin(now) {
            let Some(ingest) = &self.ingest else { return };
            let mut stream = match ingest.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    self.emitters_waiting.failed(&error, now);
                    continue;
                }
            };
            if self.emitters.len() == limits::EMITTERS_MAX {
                log::warn!(
                    "an emitter was turned away: {} are connected",
                    limits::EMITTERS_MAX
                );
                continue;
            }
            let is_operator = accept::peer_is_operator(stream.as_fd());
            self.generation = (self.generation + 1) & 0x7FFF_FFFF;
            let entry = self.emitters.vacant_entry();
            let token = Token(ROUTER | (self.generation as usize) << 32 | entry.key());
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Err(error) = self.registry.register(&mut stream, token, interest) {
                log::warn!("registering an emitter failed: {error}");
                continue;
            }
            let line_max = self.shared.config.max_message;
            self.ready.push(entry.key());
            entry.insert(Emitter::new(stream, self.generation, is_operator, line_max));
            self.shared.stats.router.emitters.add(1);
        }
    }

    fn read_emitters(&mut self, now: Now) {
        for key in std::mem::take(&mut self.ready) {
            if self.is_clogged() {
                // A reactor cannot keep up: the emitters wait, and feel it in their sockets.
                self.ready.push(key);
            } else if self.emitters.contains(key) {
                self.read_emitter(key, now);
            }
        }
        self.ready.sort_unstable();
        self.ready.dedup();
    }

    /// Reads one buffer full from an emitter and settles its lines.
    fn read_emitter(&mut self, key: usize, now: Now) {
        let emitter = &mut self.emitters[key];
        match emitter.flush() {
            Ok(_) if emitter.is_deaf() || emitter.awaits_answer => return,
            Ok(_) => {}
            Err(error) => return self.drop_emitter(key, &error),
        }
        if emitter.readable && !emitter.ended {
            match emitter.read(&mut self.spare) {
                Ok(0) => emitter.readable = false,
                Ok(count) => self.sequencer.reserve(count + count / 2),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => emitter.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.drop_emitter(key, &error),
            }
        }
        self.settle_lines(key, now);
        let emitter = &mut self.emitters[key];
        if emitter.ended && !emitter.awaits_answer {
            self.settle_last_line(key, now);
        }
        let emitter = &mut self.emitters[key];
        emitter.release(&mut self.spare);
        if emitter.readable && !emitter.ended {
            self.ready.push(key);
        }
        self.unacked.push(key);
    }

    fn settle_lines(&mut self, key: usize, now: Now) {
        loop {
            if self.emitters[key].awaits_answer {
                return;
            }
            let next = self.emitters[key].next_line();
            if matches!(next, Next::None) {
                return;
            }
            self.settle(key, next, now);
        }
    }

    /// A line that the emitter did not end with a newline counts if it is a whole object; an
    /// emitter that died in the middle of a line loses that line alone.
    fn settle_last_line(&mut self, key: usize, now: Now) {
        let next = self.emitters[key].last_line();
        self.settle(key, next, now);
    }

    fn settle(&mut self, key: usize, next: Next, now: Now) {
        let emitter = &mut self.emitters[key];
        let line = match next {
            Next::Line(line) => line,
            Next::TooLong => {
                let refusal = emitter.too_long();
                return self.refuse(key, &refusal, now.instant);
            }
            Next::None => return,
        };
        match self.sequencer.line(emitter.bytes(line.clone()), now) {
            Ok(sequencer::Settled::Blank) => {}
            Ok(sequencer::Settled::Accepted(id)) => {
                emitter.accepted(id);
                self.shared.stats.router.events_in.add(1);
            }
            Ok(sequencer::Settled::Repeated(id)) => emitter.accepted(id),
            Ok(sequencer::Settled::Command) => {
                let command = command::parse(emitter.bytes(line));
                self.execute(key, command, now);
            }
            Err(refusal) => self.refuse(key, &refusal, now.instant),
        }
    }

    fn refuse(&mut self, key: usize, refusal: &Refusal, now: Instant) {
        let emitter = &mut self.emitters[key];
        emitter.refuse(refusal);
        self.shared.stats.router.rejected.add(1);
        if let Some(held) = self.refusals.admit(now) {
            log::warn!(
                "refused line {} of emitter {}: {}{}{}",
                emitter.line_number(),
                emitter.generation,
                refusal.code.as_str(),
                refusal
                    .field
                    .as_deref()
                    .map(|field| format!(" in {field:?}"))
                    .unwrap_or_default(),
                held_back(held),
            );
        }
    }

    fn execute(&mut self, key: usize, command: Result<Command, command::Fault>, now: Now) {
        let emitter = &mut self.emitters[key];
        if !emitter.is_operator {
            let message = "commands are taken only from the server's own user or root";
            return emitter.refuse_as("forbidden", None, message);
        }
        match command {
            Err((field, message)) => emitter.refuse_as("invalid_command", Some(field), &message),
            Ok(Command::Stats) => {
                let snapshot = self.shared.stats.snapshot(now.instant);
                emitter.answer(&serde_json::json!({ "result": snapshot }));
            }
            Ok(Command::Drain) => {
                emitter.answer(&serde_json::json!({ "result": { "draining": true } }));
                self.begin_drain(now.instant);
            }
            Ok(Command::Disconnect(_)) if self.disconnect.is_some() => {
                let message = "another disconnect is under way; try again";
                emitter.refuse_as("unavailable", None, message);
            }
            Ok(Command::Disconnect(selector)) => {
                emitter.awaits_answer = true;
                self.disconnect = Some(PendingDisconnect {
                    emitter: key,
                    generation: emitter.generation,
                    reactors_left: self.lanes.len(),
                    connections: 0,
                });
                let selector = Arc::new(selector);
                for lane in &mut self.lanes {
                    lane.down.send(ToReactor::Disconnect(Arc::clone(&selector)));
                }
            }
        }
    }

    fn on_disconnected(&mut self, connections: usize) {
        let Some(pending) = &mut self.disconnect else {
            return;
        };
        pending.connections += connections;
        pending.reactors_left -= 1;
        if pending.reactors_left > 0 {
            return;
        }
        let (key, generation, total) = (pending.emitter, pending.generation, pending.connections);
        self.disconnect = None;
        log::info!("the operator disconnected {total} connections");
        if let Some(emitter) = self.emitters.get_mut(key)
            && emitter.generation == generation
        {
            emitter.awaits_answer = false;
            emitter.answer(&serde_json::json!({ "result": { "disconnected": total } }));
            self.ready.push(key);
        }
    }

    /// Every reactor has what was settled: tells the emitters, and lets go of those that are done.
    fn acknowledge(&mut self) {
        for key in std::mem::take(&mut self.unacked) {
            let Some(emitter) = self.emitters.get_mut(key) else {
                continue;
            };
            if !emitter.awaits_answer {
                let epoch = self.epoch;
                emitter.ack(|id| format_id(epoch, id));
            }
            match emitter.flush() {
                Ok(_) if emitter.ended && emitter.is_flushed() => self.remove_emitter(key),
                Ok(_) => {}
                Err(error) => self.drop_emitter(key, &error),
            }
        }
    }

    fn drop_emitter(&mut self, key: usize, error: &io::Error) {
        log::info!(
            "emitter {} broke off: {error}",
            self.emitters[key].generation
        );
        self.remove_emitter(key);
    }

    fn remove_emitter(&mut self, key: usize) {
        let mut emitter = self.emitters.remove(key);
        if let Err(error) = self.registry.deregister(&mut emitter.stream) {
            log::debug!("deregistering an emitter failed: {error}");
        }
        self.shared.stats.router.emitters.sub(1);
    }

    fn accept_sockets(&mut self, now: Instant) {
        self.accepting
            .accept(&self.listener, &self.shared, now, &mut self.lanes);
    }

    fn advance_drain(&mut self, now: Instant) {
        match self.drain {
            Drain::No | Drain::Done => {}
            Drain::Emitters { until } => {
                let unread = |emitter: &Emitter| {
                    !emitter.ended && emitter.drain_left.is_some_and(|left| left > 0)
                };
                let all_read = !self.emitters.iter().any(|(_, emitter)| unread(emitter));
                if (all_read && self.disconnect.is_none()) || now >= until {
                    // Behind the last blocks in the same rings: nobody misses one.
                    self.dispatch();
                    for lane in &mut self.lanes {
                        lane.down.send(ToReactor::Drain);
                    }
                    self.drain = Drain::Reactors {
                        until,
                        left: self.lanes.len(),
                    };
                }
            }
            Drain::Reactors { until, left } => {
                let flushed = self
                    .emitters
                    .iter()
                    .all(|(_, emitter)| emitter.is_flushed());
                if (left == 0 && flushed) || now >= until {
                    if left > 0 {
                        log::warn!("the drain timeout is over; connections that were slow are cut");
                    }
                    for lane in &mut self.lanes {
                        lane.down.send(ToReactor::Stop);
                    }
                    self.dispatch();
                    self.drain = Drain::Done;
                }
            }
        }
    }
}

impl Ingest {
    fn remove_file(&self) {
        let is_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.file);
        if is_ours && let Err(error) = std::fs::remove_file(&self.path) {
            log::warn!(
                "could not remove the socket file {}: {error}",
                self.path.display()
            );
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.remove_ingest_socket();
    }
}

#[cfg(test)]
mod tests;
