//! How a reactor's connections go to another process, and come from one.
//!
//! Part of the reactor; [`crate::takeover`] tells the whole story. A reactor that hands over stands
//! still: it reads, writes and times nothing until it is told to go on, or that it is relieved.
//! Connections that are parting stay, and part; those over TLS stay, too, because keys do not cross,
//! and are told to come back.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use mio::net::TcpStream;

use super::connection::{Connection, PartialHead, Stage};
use super::directory::PresenceChange;
use super::outbox::Outbox;
use super::ticks::Tick;
use super::timers::steps;
use super::{Drain, Reactor};
use crate::access::Role;
use crate::auth::Identity;
use crate::limits;
use crate::rate::Bucket;
use crate::ring::ToRouter;
use crate::takeover::link::{FILES_MAX, Link};
use crate::takeover::state::{ConnectionState, FromOld, SocketState, StageState, put_block};
use crate::wire::{Assembler, CloseReason};

/// About so many bytes of history go in one message.
const HISTORY_CHUNK: usize = 1 << 20;

impl Reactor {
    /// Stands still, sends everything through `link` and tells the router.
    pub(super) fn stand_still(&mut self, mut link: Link, with_history: bool) {
        self.stands_still = true;
        let sent = self.send_all(&mut link, with_history);
        let sent = sent.map_err(|error| format!("sending connections failed: {error}"));
        self.uplink.send(ToRouter::HandedOver(sent));
    }

    fn send_all(&self, link: &mut Link, with_history: bool) -> io::Result<()> {
        if with_history {
            self.send_history(link)?;
        }
        let staying: Vec<(u32, StageState)> = self
            .connections
            .iter()
            .filter_map(|(key, connection)| Some((key as u32, state_of(connection)?)))
            .collect();
        for some in staying.chunks(FILES_MAX) {
            let states = some.iter().map(|&(key, stage)| self.pack(key, stage));
            let states = FromOld::Connections(states.collect());
            let files: Vec<BorrowedFd<'_>> = some
                .iter()
                .map(|&(key, _)| self.connections[key as usize].stream.as_fd())
                .collect();
            link.send(&states, &[], &files)?;
        }
        Ok(())
    }

    fn send_history(&self, link: &mut Link) -> io::Result<()> {
        let mut chunk = Vec::new();
        for block in self.history.blocks() {
            put_block(block, self.now, &mut chunk);
            if chunk.len() >= HISTORY_CHUNK {
                link.send(&FromOld::History, &chunk, &[])?;
                chunk.clear();
            }
        }
        link.send(&FromOld::History, &chunk, &[])
    }

    fn pack(&self, key: u32, stage: StageState) -> ConnectionState {
        let connection = &self.connections[key as usize];
        ConnectionState {
            serial: connection.generation,
            stage,
            stage_due_ms: connection.stage_due.map(|due| self.left_ms(due)),
            ip: connection.ip,
            head: connection.head.as_ref().map(|head| head.0.clone()),
            partial: connection.assembler.partial(),
            outbox: connection.outbox().map(Outbox::state),
            socket: connection.is_websocket().then(|| self.pack_socket(key)),
        }
    }

    fn pack_socket(&self, key: u32) -> SocketState {
        let (connection, now_ns) = (&self.connections[key as usize], self.now_ns());
        let since = Tick(self.tick.0.wrapping_sub(connection.refusals_since.0)).0;
        SocketState {
            user: self.directory.user(key).map(str::to_owned),
            session: self.directory.session(key).map(str::to_owned),
            role: self.directory.role(key),
            expires_at: connection.expires_at,
            expiry_notice: connection.expiry_notice,
            expiry_told: connection.expiry_told,
            subscribed: self.directory.subscribed(key),
            wanted: self.directory.wanted(key),
            replay: self.replays.state(key),
            heartbeat_ms: self.left_ms(connection.heartbeat),
            conflates: connection.conflates,
            pinged: connection.pinged,
            heard: connection.heard,
            buckets: [connection.messages, connection.controls].map(|each| each.full_in(now_ns)),
            refusals: (connection.refusals, ms(limits::TICK * since)),
        }
    }

    fn left_ms(&self, due: Tick) -> u64 {
        if due.is_after(self.tick) {
            ms(limits::TICK * due.0.wrapping_sub(self.tick.0))
        } else {
            0
        }
    }

    /// Another process has the connections: forgets them without a word to anybody, sends those over
    /// TLS there, and lets those that are parting part.
    pub(super) fn depart(&mut self) {
        let gone: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| state_of(connection).is_some())
            .map(|(key, _)| key)
            .collect();
        for key in gone {
            self.forget_newcomer(key as u32);
            let mut connection = self.connections.remove(key);
            if connection.is_websocket() {
                // Where it was sent events, it is not any more; presence goes on over there.
                self.directory.leave(key as u32);
            }
            connection.let_go(&mut self.writing.backlog);
            self.unfinished.let_go(&connection.assembler);
            self.unfinished.forget(key as u32);
            self.wheel.remove(key as u32);
            // The poll would go on watching a socket that is open elsewhere (epoll(7)).
            if let Err(error) = self.registry.deregister(&mut connection.stream) {
                log::debug!("deregistering a connection failed: {error}");
            }
            self.shared.admission.leave_socket();
        }
        self.stands_still = false;
        self.drain = Drain::Parting;
        self.send_secure_ones_after();
        self.replays = super::Replays::default();
    }

    /// The other process goes on where these stop: they come back to it and resume.
    fn send_secure_ones_after(&mut self) {
        self.reconnect_spread_ms = self.shared.admission.reconnect_spread_ms();
        let staying: Vec<(usize, Stage)> = self
            .connections
            .iter()
            .map(|(key, connection)| (key, connection.stage))
            .collect();
        for (key, stage) in staying {
            match stage {
                Stage::Open => self.say_reconnect(key as u32),
                Stage::Leaving | Stage::Lingering { .. } => {}
                Stage::Fresh | Stage::Securing | Stage::Head | Stage::KeepAlive => {
                    self.remove(key as u32, CloseReason::Gone);
                }
            }
        }
    }

    /// Takes a connection over from another process. Returns the customer whose first one here it is.
    pub fn board(&mut self, state: ConnectionState, stream: TcpStream) -> Option<Box<str>> {
        let due = |left_ms: u64| self.tick.plus(steps(Duration::from_millis(left_ms)));
        let stage_due = state.stage_due_ms.map(due);
        let mut connection = Connection::new(stream, state.serial, state.ip, self.tick);
        connection.stage = match state.stage {
            StageState::Fresh => Stage::Fresh,
            StageState::Head => Stage::Head,
            StageState::KeepAlive => Stage::KeepAlive,
            StageState::Open => Stage::Open,
        };
        connection.stage_due = stage_due;
        connection.head = state.head.map(|head| Box::new(PartialHead(head)));
        connection.assembler = state.partial.map(Assembler::go_on).unwrap_or_default();
        if let Some(outbox) = state.outbox {
            connection.put_outbox(Outbox::go_on(outbox, &mut self.writing.backlog));
        }
        let is_keep_alive = connection.stage == Stage::KeepAlive;
        let is_newcomer = connection.stage != Stage::Open;
        let key = self.register(connection)?;
        let assembler = &self.connections[key as usize].assembler;
        if assembler.is_amid() {
            self.unfinished.keep(key, assembler, true, self.now);
        }
        if is_newcomer {
            self.enter_newcomer(key);
        }
        let role = state.socket.as_ref().map(|socket| socket.role);
        self.shared.admission.take_over(role);
        self.keep_alive += usize::from(is_keep_alive);
        let customer = state
            .socket
            .and_then(|socket| self.board_socket(key, socket));
        self.arm(key);
        customer
    }

    fn board_socket(&mut self, key: u32, state: SocketState) -> Option<Box<str>> {
        let heartbeat = self.beat_after(steps(Duration::from_millis(state.heartbeat_ms)));
        let (refusals, since_ms) = state.refusals;
        let since = steps(Duration::from_millis(since_ms));
        let now_ns = self.now_ns();
        let connection = &mut self.connections[key as usize];
        connection.heartbeat = heartbeat;
        connection.conflates = state.conflates;
        (connection.pinged, connection.heard) = (state.pinged, state.heard);
        (connection.expires_at, connection.expiry_notice) = (state.expires_at, state.expiry_notice);
        connection.expiry_told = state.expiry_told;
        [connection.messages, connection.controls] = state
            .buckets
            .map(|full_in| Bucket::filling(now_ns, full_in));
        connection.refusals = refusals;
        connection.refusals_since = Tick(self.tick.0.wrapping_sub(since));

        self.directory.enter(key);
        self.know_nothing_of_before(key);
        let role = state.role;
        let presence = state.user.and_then(|user| {
            let identity = Identity {
                user,
                role,
                session: state.session,
                issued_at: None,
                expires_at: state.expires_at,
            };
            self.directory.identify(key, &identity).presence
        });
        let must_authenticate = self.shared.config.require_auth && role == Role::Public;
        self.connections[key as usize].stage_due = if must_authenticate {
            let auth_due = self.tick.plus(steps(limits::AUTH_TIMEOUT));
            self.connections[key as usize].stage_due.or(Some(auth_due))
        } else {
            // Where tokens were required, it had to show one in time.
            None
        };
        if !must_authenticate {
            self.directory.go_on(key, state.subscribed, state.wanted);
            if let Some(replay) = state.replay {
                self.replays.go_on(key, replay, &mut self.directory);
            }
        }
        if self.directory.subscribed(key) != state.subscribed {
            self.tell_unsubscribed(key);
        }
        let stats = &self.shared.stats.reactors[self.index];
        stats.connections.add(1);
        stats.role(role).add(1);
        stats.resubscribed(Default::default(), self.directory.subscribed(key));
        debug_assert!(role != Role::Public || self.directory.user(key).is_none());
        match presence {
            Some(PresenceChange::Arrived(user)) => Some(user),
            _ => None,
        }
    }

    /// The rules here are narrower than in the other process. It is told behind what waits for it, when
    /// this one serves.
    fn tell_unsubscribed(&mut self, key: u32) {
        let mut frame = Vec::new();
        let left = self.directory.subscribed(key);
        self.answers.unsubscribed(left, &mut frame);
        self.connections[key as usize]
            .outbox_or_new()
            .push_answer(&frame, &mut self.writing.backlog);
    }

    /// How many customers are online as of the newest event.
    pub fn set_online(&mut self, online: u32) {
        self.online = online;
    }
}

/// A connection's stage, unless it stays behind.
fn state_of(connection: &Connection) -> Option<StageState> {
    if connection.is_secure() {
        return None;
    }
    match connection.stage {
        Stage::Fresh => Some(StageState::Fresh),
        Stage::Head => Some(StageState::Head),
        Stage::KeepAlive => Some(StageState::KeepAlive),
        Stage::Open => Some(StageState::Open),
        Stage::Securing | Stage::Leaving | Stage::Lingering { .. } => None,
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
