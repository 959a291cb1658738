//! A core's loop: owns its connections, and sends each exactly what it may see.
//!
//! [`crate::engine`] drives it: events of the poll, then one `turn`. A turn drains the ring first,
//! sends what was drained ([`fanout`]), and only then reads sockets ([`read`]): a subscription made
//! in a turn sees the frames drained in later turns, so its `position` is exact. Timers come last.
//! No other thread touches what is here; the rings carry messages in and out.
//!
//! | file | what it answers |
//! |---|---|
//! | `connection` | what is remembered of one connection |
//! | `directory` | who gets which frame |
//! | `fanout`, `outbox`, `layer` | how frames reach sockets, also over TLS |
//! | `newcomers` | who gives way when few sockets are left |
//! | `read`, `secure`, `handshake`, `token_trials` | from bytes to requests and messages |
//! | `message`, `client`, `answers` | what a client may say, what happens then, what it hears |
//! | `timers`, `ticks` | heartbeat, token end, time limits |
//! | `budget` | how much all outboxes may hold |
//! | `unfinished` | how much all beginnings of messages may hold, and how long they may take |
//! | `strain` | whether turns take too long |
//! | `past`, `resume` | what is kept of the newest events, and how it is replayed |
//! | `ending`, `drain` | how a connection ends, and how all of them do |
//! | `listing`, `why` | what an operator is shown of them, and why one was not sent an event |
//! | `renewal` | what a reload changes for those who are connected |
//! | `handover` | how all of them go to another process, and come from one |

mod answers;
mod budget;
mod client;
mod connection;
pub mod directory;
mod drain;
mod ending;
mod fanout;
mod handover;
mod handshake;
mod layer;
mod listing;
pub mod message;
mod newcomers;
mod outbox;
pub mod past;
mod read;
mod renewal;
mod resume;
mod secure;
mod strain;
mod ticks;
mod timers;
mod token_trials;
mod unfinished;
mod why;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use slab::Slab;

use crate::event::{Block, Parser, Rules};
use crate::limits;
use crate::listing::connection_id;
use crate::live::Live;
use crate::log_throttle::LogThrottle;
use crate::ring::{Receiver, Sender, Serial, ToReactor, ToRouter};
use crate::shared::Shared;
use crate::wire::Incoming;
use answers::Answers;
use connection::Connection;
use directory::{Directory, Plan, PresenceChange};
use drain::Drain;
pub use fanout::lay_out;
use layer::Writing;
use newcomers::Newcomers;
pub use past::Replay as ReplayState;
use past::{Batch, History, Replays};
use renewal::Rates;
use strain::Strain;
use ticks::{Tick, Wheel};
use token_trials::TokenTrials;
use unfinished::Unfinished;

/// Answers a whole text or binary message: appends frames to the bytes that its connection is sent.
pub type Dialect = fn(&Incoming<'_>, &mut Vec<u8>);

/// One reactor.
pub struct Reactor {
    shared: Arc<Shared>,
    /// What is in force.
    live: Arc<Live>,
    index: usize,
    registry: Registry,
    ring: Receiver<ToReactor>,
    uplink: Sender<ToRouter>,
    connections: Slab<Connection>,
    newcomers: Newcomers,
    directory: Directory,
    plan: Plan,
    scratch: fanout::Scratch,
    /// The events drained so far: a subscription made now begins behind its newest one.
    history: History,
    /// Those who are sent some of it.
    replays: Replays,
    batch: Batch,
    /// Customers online as of that event.
    online: u32,
    answers: Answers,
    /// What is said on its WebSockets instead of shopwire's own protocol.
    dialect: Option<Dialect>,
    token_trials: TokenTrials,
    /// Checks client-published events.
    parser: Parser,
    /// Flights of TLS handshakes answered in this turn.
    flights: usize,
    read_buffer: Vec<u8>,
    /// What a TLS connection's bytes hold.
    plain: Vec<u8>,
    /// What the connection now being served will be sent, all in one write.
    out: Vec<u8>,
    /// `out` begins with an HTTP answer, not with a frame.
    out_is_http: bool,
    /// Connections whose socket may have bytes for us.
    readable: Vec<u32>,
    /// Connections with an outbox whose socket has room again.
    writable: Vec<u32>,
    wheel: Wheel,
    /// Steps of the wheel from one beat of the heart to the next.
    beat: u32,
    started: Instant,
    now: Instant,
    tick: Tick,
    outbox_limit: usize,
    /// What all writes share, and what the outboxes hold.
    writing: Writing,
    unfinished: Unfinished,
    rates: Rates,
    strain: Strain,
    /// Connections in `Stage::KeepAlive`.
    keep_alive: usize,
    /// Connections in `Stage::Leaving` or `Stage::Lingering`.
    parting: usize,
    drain: Drain,
    /// Another process is taking over: nothing is read, written or timed.
    stands_still: bool,
    /// When draining: clients are told to come back spread over so many milliseconds.
    reconnect_spread_ms: u64,
    refusals: LogThrottle,
    crowding: LogThrottle,
    slow: LogThrottle,
}

impl Reactor {
    /// A reactor without connections, on the poll behind `registry`.
    pub fn new(
        shared: Arc<Shared>,
        index: usize,
        registry: Registry,
        ring: Receiver<ToReactor>,
        uplink: Sender<ToRouter>,
        now: Instant,
    ) -> Self {
        let config = &shared.config;
        let rules = Rules {
            order_statuses: config.order_statuses.clone(),
            max_message: config.max_message,
        };
        Self {
            live: Arc::clone(&shared.at_start),
            index,
            registry,
            ring,
            uplink,
            connections: Slab::new(),
            newcomers: Newcomers::default(),
            directory: Directory::new(config.access.clone(), shared.hasher.clone()),
            plan: Plan::default(),
            scratch: fanout::Scratch::default(),
            history: History::new(config.history, config.history_age),
            replays: Replays::default(),
            batch: Batch::default(),
            online: 0,
            answers: Answers::default(),
            dialect: None,
            token_trials: TokenTrials::default(),
            parser: Parser::new(rules),
            flights: 0,
            read_buffer: vec![0; limits::READ_BUFFER],
            plain: Vec::new(),
            out: Vec::new(),
            out_is_http: false,
            readable: Vec::new(),
            writable: Vec::new(),
            wheel: Wheel::new(),
            beat: timers::steps_between_beats(config.ping_interval, config.pong_timeout),
            started: now,
            now,
            tick: Tick(0),
            outbox_limit: config.outbox_limit,
            writing: Writing::default(),
            unfinished: Unfinished::default(),
            rates: Rates::of(config),
            strain: Strain::default(),
            keep_alive: 0,
            parting: 0,
            drain: Drain::No,
            stands_still: false,
            reconnect_spread_ms: 0,
            refusals: LogThrottle::default(),
            crowding: LogThrottle::default(),
            slow: LogThrottle::default(),
            shared,
        }
    }

    /// Takes over the history of earlier runs, which ends with the event `newest`.
    pub fn go_on(&mut self, newest: u64, blocks: impl IntoIterator<Item = Arc<Block>>) {
        self.history.go_on(newest, blocks);
        self.tell_history();
    }

    /// From now on its WebSockets speak something else than shopwire's protocol, text and binary: nobody is
    /// welcomed or authenticated, and `answer` has every whole message. Frames, limits and closing stay as
    /// they are, which is what this is for: holding them against a suite (`examples/echo.rs`).
    pub fn speak(&mut self, answer: Dialect) {
        self.dialect = Some(answer);
    }

    /// Takes note of an event of the poll.
    pub fn on_event(&mut self, event: &mio::event::Event) {
        let Token(token) = event.token();
        let (key, generation) = ((token & 0xFFFF_FFFF) as u32, token >> 32);
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return;
        };
        if connection.generation as usize != generation {
            return;
        }
        if event.is_writable() && connection.is_waiting() {
            self.writable.push(key);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            connection.may_have_ended |= event.is_read_closed() || event.is_error();
            self.queue(key);
        }
    }

    /// One pass: drain, send, read, replay, budget, time.
    pub fn turn(&mut self, now: Instant) {
        self.now = now;
        self.tick = self.tick_of(now);
        self.drain_ring();
        if self.stands_still {
            self.uplink.notify();
            return;
        }
        self.fan_out();
        self.flush_writable();
        self.read_sockets();
        self.replay_past();
        self.keep_budget();
        self.keep_unfinished();
        self.run_timers();
        self.run_sweep();
        self.advance_drain();
        self.uplink.notify();
        self.tell_state();
    }

    /// Whether there is work that no event of the poll will tell of.
    pub fn has_work(&self) -> bool {
        self.ring.has_messages()
            || self.uplink.can_go_on()
            || (!self.stands_still
                && ((!self.readable.is_empty() && !self.is_clogged()) || self.replays.queued() > 0))
    }

    /// When the reactor has to turn again although nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        if self.stands_still {
            return None;
        }
        let timer = self.wheel.next().map(|tick| {
            let steps = tick.0.wrapping_sub(self.tick.0);
            // The tick of now began up to one step ago; rounding up is never early.
            self.now + limits::TICK * steps
        });
        let calm = self.strain.deadline();
        timer
            .into_iter()
            .chain(self.history.sweep_due())
            .chain(self.unfinished.deadline())
            .chain(calm)
            .min()
    }

    /// The turn that began at `began` has ended, with all that shares its loop.
    pub fn end_turn(&mut self, began: Instant, ended: Instant) {
        let Some(lags) = self.strain.note(began, ended) else {
            return;
        };
        self.shared.admission.set_lagging(lags);
        let worker = self.index;
        self.shared.stats.reactors[worker].lagging.set(lags.into());
        if lags {
            log::warn!(
                worker;
                "a worker lags, its turns take over {:?}: only the back office is let in",
                limits::TURN_MAX
            );
        } else {
            log::info!(worker; "a worker no longer lags");
        }
    }

    /// Whether the router wants the process to end.
    pub fn is_done(&self) -> bool {
        self.drain == Drain::Stopped
    }

    fn tick_of(&self, at: Instant) -> Tick {
        let since = at.saturating_duration_since(self.started).as_millis();
        // Truncation is the wrap-around that ticks are compared with.
        Tick((since / limits::TICK.as_millis()) as u32)
    }

    /// Whether the router cannot take what our clients cause, so that we stop reading them.
    fn is_clogged(&self) -> bool {
        self.uplink.waiting() > limits::UP_BACKLOG_MAX
    }

    /// Tells the statistics what a turn leaves behind.
    fn tell_state(&self) {
        let stats = &self.shared.stats.reactors[self.index];
        stats.sockets.set(self.connections.len() as u64);
        stats.keep_alive.set(self.keep_alive as u64);
        stats.parting.set(self.parting as u64);
        stats.replaying.set(self.replays.len() as u64);
        stats.backlog_up.set(self.uplink.waiting() as u64);
    }

    fn drain_ring(&mut self) {
        let stats = &self.shared.stats.reactors[self.index];
        stats.ring_down.set(self.ring.waiting() as u64);
        for _ in 0..limits::BLOCKS_PER_TURN {
            match self.ring.take() {
                None => return,
                Some(ToReactor::Block(block)) => self.collect(block),
                Some(ToReactor::Socket(stream, ip, serial)) => self.adopt(stream, ip, serial),
                Some(ToReactor::Renew(live)) => {
                    self.fan_out();
                    self.renew(live);
                }
                Some(ToReactor::Disconnect(selector)) => {
                    self.fan_out();
                    let connections = self.disconnect(&selector);
                    self.uplink.send(ToRouter::Disconnected(connections));
                }
                Some(ToReactor::DisconnectToo(selector)) => {
                    self.fan_out();
                    self.disconnect(&selector);
                }
                Some(ToReactor::Connections(wanted)) => self.list_connections(&wanted),
                Some(ToReactor::Subscribers) => self.count_subscribers(),
                Some(ToReactor::Events(wanted)) => {
                    self.fan_out();
                    self.list_events(&wanted);
                }
                Some(ToReactor::Why(wanted)) => {
                    self.fan_out();
                    self.tell_why(&wanted);
                }
                Some(ToReactor::Drain) => {
                    self.fan_out();
                    self.begin_drain();
                }
                Some(ToReactor::Stop) => self.drain = Drain::Stopped,
                Some(ToReactor::HandOver(link, with_history)) => {
                    self.fan_out();
                    self.stand_still(*link, with_history);
                }
                Some(ToReactor::Begin(beginning)) => self.begin_anew(&beginning),
                Some(ToReactor::SettleAlone(block, batch)) => {
                    self.settle_alone(block.as_ref(), batch);
                }
                Some(ToReactor::Depart) => self.depart(),
                Some(ToReactor::Stay) => self.stands_still = false,
            }
        }
    }

    /// Takes a connection that the router has just accepted.
    fn adopt(&mut self, stream: TcpStream, ip: IpAddr, serial: Serial) {
        let due = self.tick.plus(timers::steps(limits::HEAD_TIMEOUT));
        let connection = Connection::new(stream, serial, ip.to_canonical(), due);
        match self.register(connection) {
            Some(key) => self.note_newcomer(key),
            None => self.shared.admission.leave_socket(),
        }
    }

    /// Gives a connection its slot and has the poll watch it.
    fn register(&mut self, mut connection: Connection) -> Option<u32> {
        let entry = self.connections.vacant_entry();
        let key = entry.key() as u32;
        let token = Token((connection.generation as usize) << 32 | key as usize);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self
            .registry
            .register(&mut connection.stream, token, interest)
        {
            log::warn!("registering a connection failed: {error}");
            return None;
        }
        connection.due = self.wheel.insert(key, connection.due);
        entry.insert(connection);
        // Data that came before the registration makes no event of its own on every kernel path.
        self.queue(key);
        Some(key)
    }

    fn queue(&mut self, key: u32) {
        let connection = &mut self.connections[key as usize];
        if !connection.queued {
            connection.queued = true;
            self.readable.push(key);
        }
    }

    fn tell_presence(&mut self, change: Option<PresenceChange>) {
        match change {
            None => {}
            Some(PresenceChange::Arrived(user)) => {
                self.uplink.send(ToRouter::CustomerArrived(user))
            }
            Some(PresenceChange::Left(user)) => self.uplink.send(ToRouter::CustomerLeft(user)),
        }
    }

    /// The WebSockets for which this holds.
    fn open_ones(&self, holds: impl Fn(u32, &Connection) -> bool) -> Vec<u32> {
        self.connections
            .iter()
            .map(|(key, connection)| (key as u32, connection))
            .filter(|&(key, connection)| connection.is_websocket() && holds(key, connection))
            .map(|(key, _)| key)
            .collect()
    }

    /// The `connectionId` that `welcome` told: unique in this run of the server.
    fn id_of(connection: &Connection) -> String {
        connection_id(connection.generation)
    }
}
