//! TLS at the reactor's door: from what a socket gives to what [`super::read`] takes.
//!
//! Part of the reactor. A server with a certificate expects a handshake first, behind the PROXY
//! header that a trusted proxy may send; whoever says something else is told so, in plain HTTP. A
//! turn answers a bounded number of flights, so that a storm of handshakes holds up no event.

use std::io;

use super::Reactor;
use super::connection::Stage;
use crate::limits;
use crate::tls::{Session, begins_handshake};
use crate::wire::{CloseReason, Refusal};

impl Reactor {
    /// Whether what the connection sends has to be unsealed, or will have to be.
    pub(super) fn expects_tls(&self, key: u32) -> bool {
        let connection = &self.connections[key as usize];
        match connection.stage {
            Stage::Fresh => self.live.acceptor.is_some(),
            Stage::Securing => true,
            Stage::Head | Stage::KeepAlive | Stage::Open => connection.is_secure(),
            // What still comes is thrown away as it is.
            Stage::Leaving | Stage::Lingering { .. } => false,
        }
    }

    /// Whether the connection has to wait for the next turn, because enough flights were answered
    /// in this one.
    pub(super) fn awaits_flight(&self, key: u32) -> bool {
        self.flights >= limits::TLS_FLIGHTS_PER_TURN
            && match self.connections[key as usize].stage {
                Stage::Fresh => self.live.acceptor.is_some(),
                Stage::Securing => true,
                _ => false,
            }
    }

    /// Takes what the socket of such a connection gave.
    pub(super) fn take_sealed(&mut self, key: u32, bytes: &mut [u8]) {
        let connection = &mut self.connections[key as usize];
        if connection.stage != Stage::Fresh {
            return self.unseal(key, bytes);
        }
        match connection.head.take() {
            None => self.begin_securing(key, bytes),
            Some(mut head) => {
                head.0.extend_from_slice(bytes);
                self.begin_securing(key, &mut head.0);
            }
        }
    }

    fn begin_securing(&mut self, key: u32, input: &mut [u8]) {
        let Some(at) = self.skip_proxy_header(key, input) else {
            return;
        };
        self.connections[key as usize].stage = Stage::Securing;
        if at < input.len() {
            self.unseal(key, &mut input[at..]);
        }
    }

    fn unseal(&mut self, key: u32, sealed: &mut [u8]) {
        if !self.connections[key as usize].is_secure() && !self.begin_session(key, sealed) {
            return;
        }
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let connection = &mut self.connections[key as usize];
        match connection.unseal(sealed, &mut plain, &mut self.writing) {
            Ok(received) => {
                self.flights += usize::from(received.answered);
                self.note_secured(key);
                if !plain.is_empty() {
                    self.take_input(key, &mut plain);
                }
                if received.closed {
                    self.send_out(key);
                    if self.connections.contains(key as usize) {
                        self.remove(key, CloseReason::Gone);
                    }
                }
            }
            Err(error) => self.break_off(key, &error),
        }
        self.plain = plain;
    }

    /// Gives the connection a session, if it speaks TLS; else tells it to.
    fn begin_session(&mut self, key: u32, bytes: &[u8]) -> bool {
        if !begins_handshake(bytes) {
            let message = "this port speaks TLS: the address begins with wss:// or https://";
            self.refuse(key, &Refusal::new(400, "tls_required", message), false);
            return false;
        }
        let session = self.live.acceptor.as_ref().map(Session::new);
        match session {
            Some(Ok(session)) => {
                self.connections[key as usize].secure(session);
                true
            }
            Some(Err(error)) => {
                log::error!("a TLS session could not be made: {error}");
                self.remove(key, CloseReason::Gone);
                false
            }
            None => {
                self.remove(key, CloseReason::Gone);
                false
            }
        }
    }

    /// The handshake may just have ended: then the request is awaited.
    fn note_secured(&mut self, key: u32) {
        let connection = &mut self.connections[key as usize];
        if connection.stage != Stage::Securing {
            return;
        }
        let Some(session) = connection.session().filter(|it| !it.is_handshaking()) else {
            return;
        };
        let stats = &self.shared.stats.reactors[self.index];
        stats.tls_handshakes.add(1);
        stats.tls_resumed.add(session.is_resumed().into());
        connection.stage = Stage::Head;
    }

    /// The client broke the protocol, which an alert has told it, or is gone.
    fn break_off(&mut self, key: u32, error: &io::Error) {
        let connection = &self.connections[key as usize];
        let id = Self::id_of(connection);
        let (worker, ip) = (self.index, connection.ip);
        log::debug!(connection = id.as_str(), worker, ip:% = ip; "TLS failed: {error}");
        let (stage, is_told) = (connection.stage, error.kind() == io::ErrorKind::InvalidData);
        if stage == Stage::Securing {
            self.shared.stats.reactors[self.index].tls_failed.add(1);
        }
        if is_told && stage != Stage::Open {
            self.part(key);
        } else {
            self.remove(key, CloseReason::Gone);
        }
    }

    /// Whether HTTP answers tell the browser to come over TLS only. What is tried out on this host
    /// shall not bind its name for a year.
    pub(super) fn shows_hsts(&self, key: u32) -> bool {
        self.connections[key as usize].is_secure() && !self.shared.config.dev
    }

    /// The time for the handshake is over.
    pub(super) fn give_up_securing(&mut self, key: u32) {
        self.shared.stats.reactors[self.index].tls_failed.add(1);
        self.remove(key, CloseReason::Gone);
    }
}
