//! The one thread in the middle: takes events in, puts them in order, hands them to every reactor.
//!
//! Owns the two listeners, the emitters, the sequencer, presence and the downward ends of the
//! rings. [`crate::engine`] drives it: events of the poll, then one `turn`. Everything that needs
//! one order or one place (ids, keys, presence) is here; nothing here ever touches a browser.

mod accept;
mod command;
mod drain;
mod emitter;
mod gathering;
mod handover;
mod ingest;
mod ingest_socket;
mod keys;
mod operator;
mod presence;
mod question;
mod reload;
mod sequencer;
mod settling;
mod sharing;
mod tap;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use slab::Slab;

use crate::clock::Now;
use crate::cluster::Cluster;
use crate::event::{Block, EventType, Naming};
use crate::journal::Journal;
use crate::limits;
use crate::live::Live;
use crate::log_throttle::LogThrottle;
use crate::ring::{Mailbox, Post, Receiver, Sender, ToReactor, ToRouter};
use crate::shared::Shared;
use crate::takeover::host::Request;
pub use accept::peer_is_operator;
use drain::Drain;
use emitter::Emitter;
use gathering::Gathering;
use handover::Handover;
pub use ingest_socket::Ingest;
use ingest_socket::Lookout;
use presence::Presence;
use question::Questions;
pub use question::Stored;
use reload::Reload;
use sequencer::Settled;
pub use sequencer::{Sequencer, random_secret};
use tap::Taps;

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
    /// What is in force.
    live: Arc<Live>,
    registry: Registry,
    listener: TcpListener,
    accepting: accept::Accepting,
    emitters_waiting: accept::Waiting,
    ingest: Option<Ingest>,
    lookout: Lookout,
    /// The server that this process succeeds still has the ingest socket's file.
    is_guest: bool,
    emitters: Slab<Emitter>,
    generation: u32,
    /// Emitters to look at this turn.
    ready: Vec<usize>,
    /// Emitters whose lines are settled and wait for their ack.
    unacked: Vec<usize>,
    /// Emitters whose lines wait for the journal or Redis.
    unsettled: Vec<usize>,
    /// The read buffer that is lent to whichever emitter is being read.
    spare: Vec<u8>,
    sequencer: Sequencer,
    journal: Option<Journal>,
    /// The hosts that this one acts as one with.
    cluster: Option<Cluster>,
    /// Until then no browser is let in, if Redis has not told before where history begins.
    lets_in_by: Option<Instant>,
    /// Successors that ask, if they can.
    successors: Option<Mailbox<Request>>,
    handover: Handover,
    /// Events that came while the reactors stood still.
    pending: Vec<Arc<Block>>,
    gathering: Gathering,
    presence: Presence,
    lanes: Vec<Lane>,
    /// What an operator has asked the reactors, and they have not all answered.
    questions: Questions,
    /// The way of a thread that stores what is revoked to the router, and its end.
    stored: Option<(Post<Stored>, Mailbox<Stored>)>,
    /// Operators who are sent copies of what passes.
    taps: Taps,
    reload: Reload,
    drain: Drain,
    /// To be drained when it is known who serves.
    drain_after_handover: bool,
    refusals: LogThrottle,
    turned_away: LogThrottle,
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
        journal: Option<Journal>,
        lanes: Vec<Lane>,
    ) -> io::Result<Self> {
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        registry.register(&mut ingest.listener, INGEST, Interest::READABLE)?;
        let gathering = Gathering::new(shared.config.gather);
        let questions = Questions::new(lanes.len());
        Ok(Self {
            live: Arc::clone(&shared.at_start),
            shared,
            registry,
            listener,
            accepting: accept::Accepting::default(),
            emitters_waiting: accept::Waiting::default(),
            ingest: Some(ingest),
            lookout: Lookout::default(),
            is_guest: false,
            emitters: Slab::new(),
            generation: 0,
            ready: Vec::new(),
            unacked: Vec::new(),
            unsettled: Vec::new(),
            spare: vec![0; limits::INGEST_READ],
            sequencer,
            journal,
            cluster: None,
            lets_in_by: None,
            successors: None,
            handover: Handover::No,
            pending: Vec::new(),
            gathering,
            presence: Presence::default(),
            lanes,
            questions,
            stored: None,
            taps: Taps::default(),
            reload: Reload::default(),
            drain: Drain::No,
            drain_after_handover: false,
            refusals: LogThrottle::default(),
            turned_away: LogThrottle::default(),
        })
    }

    /// Listens to successors that ask through `requests`.
    pub fn expect_successors(&mut self, requests: Mailbox<Request>) {
        self.successors = Some(requests);
    }

    /// From now on this process is the server.
    pub fn begin(&mut self) {
        self.is_guest = false;
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
                    emitter.hung_up |= event.is_read_closed() || event.is_error();
                    emitter.is_gone |= event.is_write_closed() || event.is_error();
                    emitter.readable |= event.is_readable() || emitter.hung_up;
                    self.ready.push(key);
                }
            }
        }
    }

    /// One pass: what came up, what came in, and all of it handed down. [`Router::acknowledge`]
    /// must follow.
    pub fn turn(&mut self, now: Instant) {
        let now = self.shared.wall.at(now);
        self.make_room();
        if !self.stands_still() {
            self.turn_journal(now);
        }
        self.take_from_reactors(now);
        self.advance_handover(now);
        if self.stands_still() {
            return;
        }
        if self.is_succeeded() {
            self.advance_drain(now);
            return self.make_room();
        }
        if self.drain_after_handover && !self.is_handing_over() {
            self.begin_drain(now.instant);
        }
        self.take_from_cluster(now);
        self.advance_reload(now.instant);
        self.advance_storing();
        self.announce_gone(now);
        self.look_after_ingest(now.instant);
        self.accept_emitters(now.instant);
        self.read_emitters(now);
        self.accept_sockets(now.instant);
        self.advance_question(now.instant);
        self.advance_drain(now);
        self.dispatch(now);
        self.deliver_alone(now);
        self.serve_taps(now.instant);
        self.tell_state();
    }

    /// Tells the statistics what a turn leaves behind.
    fn tell_state(&self) {
        let stats = &self.shared.stats;
        stats.router.held_up.set(self.is_held_up().into());
        if let Some(cluster) = &self.cluster {
            stats.redis.waiting.set(cluster.waiting());
            stats.redis.alone.set(cluster.alone_events());
        }
        for (lane, reactor) in self.lanes.iter().zip(&stats.reactors) {
            reactor.backlog_down.set(lane.down.waiting() as u64);
        }
    }

    /// Whether there is work that no event of the poll will tell of.
    pub fn has_work(&self) -> bool {
        let mut lanes = self.lanes.iter();
        let is_due = lanes.any(|lane| lane.up.has_messages() || lane.down.can_go_on());
        if is_due || self.has_handover_work() {
            return true;
        }
        if self.stands_still() || self.is_succeeded() {
            return false;
        }
        self.reload.has_news()
            || self.has_stored()
            || (self.lets_in_by.is_none() && self.accepting.waiting.is_ready())
            || self.emitters_waiting.is_ready()
            || (!self.is_held_up() && !self.ready.is_empty())
            || self.journal.as_ref().is_some_and(Journal::has_news)
            || self.has_cluster_news()
    }

    /// Until when events are gathered: the loop does best to let them come, and to turn then.
    pub fn gathers_until(&self) -> Option<Instant> {
        self.gathering.until()
    }

    /// When the router has to turn again although nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        if self.stands_still() {
            // The thread that leads the successor through keeps the time.
            return None;
        }
        let drain = match self.drain {
            Drain::Emitters { until, owes_until } => Some(owes_until.unwrap_or(until)),
            Drain::Reactors { until, .. } => Some(until),
            Drain::No | Drain::Done => None,
        };
        if self.is_succeeded() {
            return drain;
        }
        let accepting = [
            self.accepting.waiting.deadline(),
            self.emitters_waiting.deadline(),
        ];
        let journal = self.journal.as_ref().and_then(Journal::deadline);
        let settling = self.handover.deadline();
        let cluster = self.cluster.as_ref().and_then(Cluster::deadline);
        [
            self.presence.deadline(),
            drain,
            journal,
            cluster,
            settling,
            self.reload.deadline(),
            self.lets_in_by,
            self.taps.deadline(),
            self.questions.deadline(),
        ]
        .into_iter()
        .chain(accepting)
        .flatten()
        .min()
    }

    /// Whether the drain is over and the process may end.
    pub fn is_done(&self) -> bool {
        matches!(self.drain, Drain::Done)
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
                    ToRouter::Disconnected(connections) => self.on_disconnected(index, connections),
                    ToRouter::Connections(all) => self.on_connections(index, *all),
                    ToRouter::Subscribers(all) => self.on_subscribers(index, &all),
                    ToRouter::Events(events) => self.on_events(index, events),
                    ToRouter::Why(why) => self.on_why(index, *why),
                    ToRouter::HandedOver(sent) => self.on_handed_over(sent, now),
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
        if self.cluster.is_some() {
            return self.announce_to_cluster(kind, user, now);
        }
        self.sequencer
            .announce(kind, user, self.presence.online(), now);
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
            Ok(Settled::Repeated(_)) => self.shared.stats.router.repeated.add(1),
            Ok(Settled::Accepted(_) | Settled::Blank | Settled::Command) => {}
            // The reactor has checked it by the same rules.
            Err(refusal) => log::error!("a published event was refused: {}", refusal.message),
        }
    }

    /// Hands the events of this turn to every reactor, unless they shall wait for others.
    fn dispatch(&mut self, now: Now) {
        let events = self.sequencer.waiting();
        let is_urgent = self.sequencer.has_full_block() || !matches!(self.drain, Drain::No);
        if is_urgent {
            self.gathering.went_out(events, now.instant);
        } else if !self.gathering.release(events, now.instant) {
            return self.make_room();
        }
        self.hand_down(now);
    }

    /// Hands everything accepted to every reactor, as far as their rings take it.
    fn hand_down(&mut self, now: Now) {
        if self.sequencer.waiting() == 0 {
            return self.make_room();
        }
        if self.share(now) {
            return self.make_room();
        }
        let keys = self.sequencer.take_keys();
        let blocks = self.sequencer.take_blocks();
        count_events(&self.shared, blocks.as_slice());
        // Before anybody can have seen them: what a client has seen survives this process.
        if let Some(journal) = &mut self.journal {
            journal.append(blocks.as_slice(), &keys, now);
        }
        hand_out(blocks, &self.shared, &mut self.lanes, &mut self.taps);
        self.make_room();
    }

    /// Moves what waits into the rings, as far as they take it.
    fn make_room(&mut self) {
        for lane in &mut self.lanes {
            lane.down.notify();
        }
    }

    /// Whether a reactor has not taken all of it yet.
    fn is_clogged(&self) -> bool {
        self.lanes.iter().any(|lane| lane.down.waiting() > 0)
    }

    /// Whether a reactor, the disk or Redis is so far behind that emitters are not read.
    fn is_held_up(&self) -> bool {
        self.is_clogged()
            || self.is_handing_over()
            || self.journal.as_ref().is_some_and(Journal::is_behind)
            || self.cluster.as_ref().is_some_and(Cluster::is_behind)
    }

    fn turn_journal(&mut self, now: Now) {
        if let Some(journal) = &mut self.journal {
            journal.turn(now);
            let report = journal.report();
            self.shared.stats.journal.set(&report);
        }
    }

    fn accept_sockets(&mut self, now: Instant) {
        if self.awaits_beginning(now) {
            return;
        }
        self.accepting
            .accept(&self.listener, &self.shared, now, &mut self.lanes);
    }
}

/// Counts the events of blocks that nobody has seen yet, by their types.
fn count_events(shared: &Shared, blocks: &[Arc<Block>]) {
    let mut kinds = [0; EventType::ALL.len()];
    for frame in blocks.iter().flat_map(|block| &block.frames) {
        kinds[frame.kind as usize] += 1;
    }
    for (kind, &count) in kinds.iter().enumerate() {
        if count > 0 {
            shared.stats.router.events_in.at(kind).add(count);
        }
    }
}

fn hand_out(
    blocks: impl Iterator<Item = Arc<Block>>,
    shared: &Shared,
    lanes: &mut [Lane],
    taps: &mut Taps,
) {
    for block in blocks {
        if block.naming != Naming::Alone {
            shared.set_newest(block.last_id());
        }
        taps.copy(&block);
        for lane in &mut *lanes {
            lane.down.send(ToReactor::Block(Arc::clone(&block)));
        }
    }
}

#[cfg(test)]
mod tests;
