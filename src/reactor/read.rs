//! From readable sockets to messages.
//!
//! Part of the reactor. All connections are read into one buffer and parsed there; only what is
//! cut off is kept, by the connection. A read is bounded, so that one busy client does not hold up
//! the others: what is left stays queued for the next turn. A reactor that lags reads the back office first,
//! and everybody else for a part of its time only, so that events are still delivered in good time.

use std::io::{self, Read};
use std::time::Instant;

use super::Reactor;
use super::connection::Stage;
use super::outbox::Outbox;
use crate::access::Role;
use crate::limits;
use crate::wire::frame::put_frame;
use crate::wire::{CloseReason, Incoming, Limits, Opcode, close};

impl Reactor {
    /// Reads every connection that may have something, unless the router cannot follow.
    pub(super) fn read_sockets(&mut self) {
        if self.is_clogged() {
            return;
        }
        // Those that are not read to the end are put behind these.
        let count = self.readable.len();
        self.flights = 0;
        let began = self.strain.lags().then(|| self.put_back_office_first());
        let mut buffer = std::mem::take(&mut self.read_buffer);
        for index in 0..count {
            let key = self.readable[index];
            if self.connections.contains(key as usize) {
                self.connections[key as usize].queued = false;
                let room = match began {
                    Some(began) if !self.is_back_office(key) => {
                        if began.elapsed() > limits::LAGGING_READ_TIME {
                            self.queue(key);
                            continue;
                        }
                        limits::LAGGING_READ
                    }
                    _ => buffer.len(),
                };
                if self.awaits_flight(key) {
                    self.queue(key);
                } else {
                    self.read_socket(key, &mut buffer[..room]);
                }
            }
        }
        self.read_buffer = buffer;
        self.readable.drain(..count);
    }

    /// Gives when that was done.
    fn put_back_office_first(&mut self) -> Instant {
        let mut readable = std::mem::take(&mut self.readable);
        readable.sort_by_key(|&key| !self.is_back_office(key));
        self.readable = readable;
        Instant::now()
    }

    /// Whether it is one of those for whom a share of everything is kept.
    pub(super) fn is_back_office(&self, key: u32) -> bool {
        self.connections
            .get(key as usize)
            .is_some_and(|each| each.stage == Stage::Open)
            && self.directory.role(key).is_back_office()
    }

    fn read_socket(&mut self, key: u32, buffer: &mut [u8]) {
        let generation = self.connections[key as usize].generation;
        // Who is read little at a time is not read much in a turn either.
        let mut budget = limits::READ_BUDGET.min(2 * buffer.len());
        loop {
            let Some(connection) = self.connections.get_mut(key as usize) else {
                return;
            };
            if connection.generation != generation {
                return;
            }
            if budget == 0 {
                return self.queue(key);
            }
            match connection.stream.read(buffer) {
                Ok(0) => return self.remove(key, CloseReason::Gone),
                Ok(count) => {
                    budget = budget.saturating_sub(count);
                    // A read that does not fill the buffer has emptied the socket (epoll(7)), and
                    // what comes later makes a new event; only an end of stream must be looked for.
                    let emptied = count < buffer.len() && !connection.may_have_ended;
                    if self.expects_tls(key) {
                        self.take_sealed(key, &mut buffer[..count]);
                    } else {
                        self.take_input(key, &mut buffer[..count]);
                    }
                    self.send_out(key);
                    if emptied {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.remove(key, CloseReason::Gone),
            }
        }
    }

    /// Takes plain bytes, all that there are.
    pub(super) fn take_input(&mut self, key: u32, bytes: &mut [u8]) {
        let connection = &mut self.connections[key as usize];
        match connection.stage {
            Stage::Fresh | Stage::Head | Stage::KeepAlive => match connection.head.take() {
                None => self.take_requests(key, bytes),
                Some(mut head) => {
                    head.0.extend_from_slice(bytes);
                    self.take_requests(key, &mut head.0);
                }
            },
            Stage::Open => self.take_frames(key, bytes),
            // A TLS client's come here when the handshake is over.
            Stage::Securing | Stage::Leaving => {}
            Stage::Lingering { left } => {
                let left = left.saturating_sub(bytes.len() as u32);
                connection.stage = Stage::Lingering { left };
                if left == 0 {
                    self.remove(key, CloseReason::Gone);
                }
            }
        }
    }

    /// Takes the whole messages that `bytes` complete.
    pub(super) fn take_frames(&mut self, key: u32, bytes: &mut [u8]) {
        let mut assembler = std::mem::take(&mut self.connections[key as usize].assembler);
        self.unfinished.let_go(&assembler);
        let (was_amid, begun) = (assembler.is_amid(), assembler.begun());
        let (mut at, mut over, mut heard) = (0, !was_amid, false);
        let ending = loop {
            let limits = Limits {
                message: self.message_limit(key),
                binary: self.dialect.is_some(),
            };
            match assembler.next(bytes, &mut at, limits) {
                Ok(None) => break None,
                Ok(Some(incoming)) => {
                    heard = true;
                    over |= matches!(incoming, Incoming::Text(_) | Incoming::Binary(_));
                    if let Err(ending) = self.take_message(key, incoming) {
                        break Some(ending);
                    }
                }
                Err(reason) => break Some(Ending::Close(reason)),
            }
        };
        match ending {
            None => {
                // A ping between two fragments ends no message.
                over |= heard && assembler.begun() == 0;
                let connection = &mut self.connections[key as usize];
                // Who sends one long frame gives no other sign of life meanwhile.
                connection.heard |= heard || assembler.begun() > begun;
                if was_amid || assembler.is_amid() {
                    self.unfinished.keep(key, &assembler, over, self.now);
                }
                connection.assembler = assembler;
            }
            Some(Ending::Close(reason)) => self.close(key, reason),
            Some(Ending::Reply(code)) => {
                close::put_close_reply(code, &mut self.out);
                self.end(key, CloseReason::Normal);
            }
        }
    }

    /// What one message may make the server hold: little before authentication.
    fn message_limit(&self, key: u32) -> usize {
        if self.is_stranger(key) {
            limits::PUBLIC_MESSAGE_MAX.min(self.shared.config.max_message)
        } else {
            self.shared.config.max_message
        }
    }

    /// One who has shown no token, for whom little is held. Another dialect knows no tokens.
    fn is_stranger(&self, key: u32) -> bool {
        self.dialect.is_none() && self.directory.role(key) == Role::Public
    }

    fn take_message(&mut self, key: u32, incoming: Incoming<'_>) -> Result<(), Ending> {
        let taken = match incoming {
            Incoming::Text(_) | Incoming::Binary(_) => self.take_data(key, &incoming),
            Incoming::Ping(payload) => self.take_control(key).map(|admitted| {
                if admitted {
                    put_frame(Opcode::Pong, payload, &mut self.out);
                }
            }),
            Incoming::Pong(_) => self.take_control(key).map(|_| ()),
            Incoming::Close(code, _) => return Err(Ending::Reply(code)),
        };
        taken.map_err(Ending::Close)?;
        self.check_answers(key).map_err(Ending::Close)
    }

    fn take_data(&mut self, key: u32, message: &Incoming<'_>) -> Result<(), CloseReason> {
        match (message, self.dialect) {
            (_, Some(answer)) => {
                answer(message, &mut self.out);
                Ok(())
            }
            (Incoming::Text(text), None) => self.on_text(key, text),
            (_, None) => Err(CloseReason::UnsupportedData),
        }
    }

    /// A client that does not read its answers may not make the server keep many of them: a public
    /// one least.
    fn check_answers(&mut self, key: u32) -> Result<(), CloseReason> {
        let connection = &self.connections[key as usize];
        if !connection.is_waiting() {
            return Ok(());
        }
        let waiting_for = |count: fn(&Outbox) -> usize| connection.outbox().map_or(0, count);
        let (waiting, most) = if self.is_stranger(key) {
            // Of what is sealed already nobody knows what it is.
            let answers = waiting_for(Outbox::answers) + connection.sealed_waiting();
            (answers, limits::PUBLIC_ANSWERS_MAX)
        } else if self.directory.is_held(key) {
            // A part of its past waits there, too, and that is not slowness.
            (waiting_for(Outbox::answers), self.outbox_limit)
        } else {
            (waiting_for(Outbox::waiting), self.outbox_limit)
        };
        if waiting + self.out.len() > most {
            Err(CloseReason::SlowConsumer)
        } else {
            Ok(())
        }
    }
}

/// How a message ends the connection.
enum Ending {
    /// By a close of ours.
    Close(CloseReason),
    /// By answering the client's close.
    Reply(Option<u16>),
}
