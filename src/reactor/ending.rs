//! How a connection is written to outside the hot path, and how it ends.
//!
//! Part of the reactor. An orderly end is: close frame (or HTTP refusal), our side shut down, what
//! the client still sends thrown away for a moment, then closed; else the kernel's reset would eat
//! the answer. A socket that is full at that moment is cut at once.

use std::net::Shutdown;

use bytes::Bytes;

use super::Reactor;
use super::connection::Stage;
use super::outbox::{Outbox, left_of_frame};
use super::timers::steps;
use crate::access::NamespaceMask;
use crate::auth::Whom;
use crate::limits;
use crate::log_throttle::held_back;
use crate::ring::Selector;
use crate::wire::{CloseReason, close};

impl Reactor {
    /// `ctl disconnect` and `ctl revoke`: closes those whom the selector names, and gives how many they were.
    pub(super) fn disconnect(&mut self, selector: &Selector) -> usize {
        let keys: Vec<u32> = match selector {
            Selector::User(user) => self.directory.of_user(user).to_vec(),
            Selector::Session(session) => self.directory.of_session(session).to_vec(),
            Selector::Connection(id) => {
                self.open_ones(|_, connection| Self::id_of(connection) == *id)
            }
            Selector::Role(role) => self.open_ones(|key, _| self.directory.role(key) == *role),
        };
        let mut latest_end = 0;
        for &key in &keys {
            let expires_at = self.connections[key as usize].expires_at;
            if expires_at > 0 {
                latest_end = latest_end.max(self.live.verifier.token_end(expires_at));
            }
            self.close(key, CloseReason::Disconnected);
        }
        // If it was a revocation: their tokens may last longer than it would be remembered.
        let whom = match selector {
            Selector::User(user) => Some(Whom::User(user.clone())),
            Selector::Session(session) => Some(Whom::Session(session.clone())),
            Selector::Connection(_) | Selector::Role(_) => None,
        };
        if let Some(whom) = whom {
            self.shared.revoked.keep_until(&whom, latest_end);
        }
        keys.len()
    }

    /// Writes what `out` holds to the connection, behind what already waits.
    pub(super) fn send_out(&mut self, key: u32) {
        let is_http = std::mem::take(&mut self.out_is_http);
        if self.out.is_empty() {
            return;
        }
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return self.out.clear();
        };
        if let Some(outbox) = connection.outbox_mut() {
            outbox.push_answer(&self.out, &mut self.writing.backlog);
        } else {
            match connection.write(&self.out, &mut self.writing) {
                Ok(taken) if taken == self.out.len() => {}
                Ok(taken) => {
                    let mut outbox = Outbox::default();
                    let rest = &self.out[taken..];
                    // An HTTP answer counts as one frame: it has no boundaries inside.
                    outbox.begin_inside_frame(if is_http {
                        rest.len()
                    } else {
                        left_of_frame(&self.out, taken, 0)
                    });
                    outbox.push_answer(rest, &mut self.writing.backlog);
                    connection.put_outbox(outbox);
                }
                Err(_) => {
                    self.out.clear();
                    return self.remove(key, CloseReason::Gone);
                }
            }
        }
        self.out.clear();
    }

    /// Writes the body of an HTTP answer that all connections share, behind what already waits: what
    /// the socket does not take is not copied.
    pub(super) fn send_shared(&mut self, key: u32, bytes: &Bytes) {
        if bytes.is_empty() {
            return;
        }
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return;
        };
        let taken = if connection.is_waiting() {
            0
        } else {
            match connection.write(bytes, &mut self.writing) {
                Ok(taken) => taken,
                Err(_) => return self.remove(key, CloseReason::Gone),
            }
        };
        if taken < bytes.len() {
            let outbox = connection.outbox_or_new();
            outbox.push(bytes, taken..bytes.len(), &mut self.writing.backlog);
            // All of it counts as one frame, as the head before it: it has no boundaries inside.
            outbox.begin_inside_frame(outbox.length());
        }
    }

    /// Ends a plain connection when the rest of its answer has left the outbox, and in any case soon.
    pub(super) fn finish_answer(&mut self, key: u32) {
        let due = self.tick.plus(steps(limits::ANSWER_TIMEOUT));
        let connection = &mut self.connections[key as usize];
        if connection.stage == Stage::KeepAlive {
            self.keep_alive -= 1;
        }
        connection.stage = Stage::Leaving;
        connection.stage_due = Some(due);
        self.parting += 1;
        self.arm(key);
    }

    /// Sockets with room again take what waits for them.
    pub(super) fn flush_writable(&mut self) {
        while let Some(key) = self.writable.pop() {
            let Some(connection) = self.connections.get_mut(key as usize) else {
                continue;
            };
            if !connection.is_waiting() {
                continue;
            }
            // One whose past is replayed comes to a ping late, but it takes what it is sent.
            connection.heard |= connection.stage == Stage::Open && self.directory.is_held(key);
            match connection.flush(&mut self.writing) {
                Ok(false) => {}
                Ok(true) => {
                    if connection.stage == Stage::Leaving {
                        self.linger(key);
                    }
                    self.replays.ready(key);
                }
                Err(_) => self.remove(key, CloseReason::Gone),
            }
        }
    }

    /// Ends a connection for `reason`, with its close frame behind what `out` holds.
    pub(super) fn close(&mut self, key: u32, reason: CloseReason) {
        if !self
            .connections
            .get(key as usize)
            .is_some_and(|each| each.stage == Stage::Open)
        {
            return;
        }
        match reason {
            CloseReason::Gone => self.remove(key, reason),
            _ => {
                close::put_close_frame(reason, &mut self.out);
                self.end(key, reason);
            }
        }
    }

    /// Sends `out`, whose last frame is a close, and parts; a full socket is cut.
    pub(super) fn end(&mut self, key: u32, reason: CloseReason) {
        self.leave(key, reason);
        self.send_out(key);
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return;
        };
        if connection.is_waiting() {
            self.remove(key, reason);
        } else {
            self.linger(key);
        }
    }

    /// As [`Reactor::close`] at drain: what waits in the outbox is sent before.
    pub(super) fn say_goodbye(&mut self, key: u32) {
        close::put_close_frame(CloseReason::Draining, &mut self.out);
        self.leave(key, CloseReason::Draining);
        self.send_out(key);
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return;
        };
        if !connection.is_waiting() {
            self.linger(key);
        }
    }

    /// Shuts our side down and reads on for a moment.
    pub(super) fn linger(&mut self, key: u32) {
        let due = self.tick.plus(steps(limits::LINGER_TIME));
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return;
        };
        if connection.stage == Stage::KeepAlive {
            self.keep_alive -= 1;
        }
        if connection.stage != Stage::Leaving {
            self.parting += 1;
        }
        connection.stage = Stage::Lingering {
            left: limits::LINGER_BYTES as u32,
        };
        connection.stage_due = Some(due);
        // One whose TLS failed has heard it by an alert; the socket's end is for everybody.
        connection.say_goodbye(&mut self.writing).ok();
        if connection.stream.shutdown(Shutdown::Write).is_err() {
            return self.remove(key, CloseReason::Gone);
        }
        self.arm(key);
    }

    /// Closes the socket and forgets the connection.
    pub(super) fn remove(&mut self, key: u32, reason: CloseReason) {
        match self.connections[key as usize].stage {
            Stage::Open => {
                self.leave(key, reason);
                self.parting -= 1;
            }
            Stage::KeepAlive => self.keep_alive -= 1,
            Stage::Leaving | Stage::Lingering { .. } => self.parting -= 1,
            Stage::Fresh | Stage::Securing | Stage::Head => {}
        }
        self.forget_newcomer(key);
        let mut connection = self.connections.remove(key as usize);
        connection.let_go(&mut self.writing.backlog);
        self.wheel.remove(key);
        if let Err(error) = self.registry.deregister(&mut connection.stream) {
            log::debug!("deregistering a connection failed: {error}");
        }
        self.shared.admission.leave_socket();
    }

    /// A WebSocket begins to end: it leaves the directory and the counters, and its end is logged.
    fn leave(&mut self, key: u32, reason: CloseReason) {
        let connection = &mut self.connections[key as usize];
        connection.stage = Stage::Leaving;
        connection.stage_due = None;
        // Nothing that it says counts any more.
        self.unfinished
            .let_go(&std::mem::take(&mut connection.assembler));
        self.unfinished.forget(key);
        let is_secure = connection.is_secure();
        self.parting += 1;
        let stats = &self.shared.stats.reactors[self.index];
        let (role, subscribed) = (self.directory.role(key), self.directory.subscribed(key));
        stats.closed.at(reason.index()).add(1);
        stats.connections.sub(1);
        stats.secure.sub(is_secure.into());
        stats.role(role).sub(1);
        stats.resubscribed(subscribed, NamespaceMask::default());
        self.shared.admission.leave_websocket(role);
        self.log_end(key, reason);
        self.replays.leave(key);
        let change = self.directory.leave(key);
        self.tell_presence(change);
    }

    /// What the client did wrong is told once at a level that is on; all else is for debugging.
    fn log_end(&mut self, key: u32, reason: CloseReason) {
        let id = Self::id_of(&self.connections[key as usize]);
        let (connection, worker) = (id.as_str(), self.index);
        let (code, reason_name) = (reason.code(), reason.name());
        match reason {
            CloseReason::SlowConsumer => {
                if let Some(held) = self.slow.admit(self.now) {
                    let (user, held) = (self.user_hash(key), held_back(held));
                    log::warn!(
                        connection, worker, user = user.as_str(), code, reason = reason_name;
                        "a connection reads too slowly and is closed{held}"
                    );
                }
            }
            CloseReason::Protocol(_)
            | CloseReason::UnsupportedData
            | CloseReason::InvalidUtf8
            | CloseReason::TooBig
            | CloseReason::MessageTimeout
            | CloseReason::TokenRefused
            | CloseReason::Flooding => {
                if let Some(held) = self.refusals.admit(self.now) {
                    let (user, held) = (self.user_hash(key), held_back(held));
                    log::info!(
                        connection, worker, user = user.as_str(), code, reason = reason_name;
                        "a connection broke the rules and is closed{held}"
                    );
                }
            }
            _ => log::debug!(connection, worker, code, reason = reason_name; "a connection ends"),
        }
    }
}
