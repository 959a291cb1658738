//! What stands between a connection and its bare socket: bytes that wait for it, and TLS.
//!
//! Part of the reactor; a plain connection that keeps up has nothing of it, and asking for it is
//! the one question that a write puts. What waits for a TLS connection is plain, as for any other:
//! shared with its block, bounded by the same limits, open to conflation. It is sealed when the
//! socket has room, a part at a time; of ciphertext only the rest of one part is ever kept.

use std::io::{self, IoSlice, Write};

use mio::net::TcpStream;

use super::connection::Connection;
use super::fanout::write;
use super::outbox::{Backlog, Outbox};
use crate::limits;
use crate::tls::{Output, Received, Session};

/// See [`Connection::layer`].
pub enum Layer {
    /// A plain connection whose socket is full.
    Waiting(Outbox),
    /// A TLS connection.
    Secure(Box<Secure>),
}

/// A TLS connection's state, and what waits for it.
pub struct Secure {
    seal: Seal,
    outbox: Option<Box<Outbox>>,
}

struct Seal {
    session: Session,
    /// Ciphertext that the socket did not take, written up to `written`.
    unsent: Vec<u8>,
    written: usize,
    /// The memory of it that the backlog has counted, in bytes.
    counted: usize,
}

/// What all writes of a reactor share.
#[derive(Default)]
pub struct Writing {
    /// What the outboxes hold.
    pub backlog: Backlog,
    sealed: Output,
    gathered: Vec<u8>,
}

impl Connection {
    /// From now on it speaks TLS.
    pub fn secure(&mut self, session: Session) {
        let seal = Seal {
            session,
            unsent: Vec::new(),
            written: 0,
            counted: 0,
        };
        let secure = Secure { seal, outbox: None };
        self.layer = Some(Box::new(Layer::Secure(Box::new(secure))));
    }

    /// Whether it speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.session().is_some()
    }

    /// Its TLS session, if it has one.
    pub fn session(&self) -> Option<&Session> {
        match self.layer.as_deref() {
            Some(Layer::Secure(secure)) => Some(&secure.seal.session),
            Some(Layer::Waiting(_)) | None => None,
        }
    }

    /// What waits for its socket, and is not sealed yet.
    pub fn outbox(&self) -> Option<&Outbox> {
        match self.layer.as_deref()? {
            Layer::Waiting(outbox) => Some(outbox),
            Layer::Secure(secure) => secure.outbox.as_deref(),
        }
    }

    /// As [`Connection::outbox`], to put more into it.
    pub fn outbox_mut(&mut self) -> Option<&mut Outbox> {
        match self.layer.as_deref_mut()? {
            Layer::Waiting(outbox) => Some(outbox),
            Layer::Secure(secure) => secure.outbox.as_deref_mut(),
        }
    }

    /// Ciphertext that waits for its socket, in bytes.
    pub fn sealed_waiting(&self) -> usize {
        match self.layer.as_deref() {
            Some(Layer::Secure(secure)) => secure.seal.waiting(),
            Some(Layer::Waiting(_)) | None => 0,
        }
    }

    /// Whether anything waits for its socket.
    pub fn is_waiting(&self) -> bool {
        match self.layer.as_deref() {
            None => false,
            Some(Layer::Waiting(_)) => true,
            Some(Layer::Secure(secure)) => secure.outbox.is_some() || secure.seal.waiting() > 0,
        }
    }

    /// As [`Connection::outbox_mut`], but there is one afterwards.
    pub fn outbox_or_new(&mut self) -> &mut Outbox {
        let layer = self
            .layer
            .get_or_insert_with(|| Box::new(Layer::Waiting(Outbox::default())));
        match &mut **layer {
            Layer::Waiting(outbox) => outbox,
            Layer::Secure(secure) => secure.outbox.get_or_insert_default(),
        }
    }

    /// There was no outbox, and now this one waits for the socket.
    pub fn put_outbox(&mut self, outbox: Outbox) {
        match self.layer.as_deref_mut() {
            Some(Layer::Secure(secure)) => secure.outbox = Some(Box::new(outbox)),
            Some(Layer::Waiting(_)) | None => self.layer = Some(Box::new(Layer::Waiting(outbox))),
        }
    }

    /// Writes once, where no outbox waits; a full socket takes 0 bytes.
    pub fn write(&mut self, bytes: &[u8], writing: &mut Writing) -> io::Result<usize> {
        match self.layer.as_deref_mut() {
            None | Some(Layer::Waiting(_)) => write(&mut self.stream, bytes),
            Some(Layer::Secure(secure)) => {
                secure.with_socket(&mut self.stream, writing, |socket, _| write(socket, bytes))
            }
        }
    }

    /// Writes what waits, as far as the socket takes it. True: nothing is left.
    pub fn flush(&mut self, writing: &mut Writing) -> io::Result<bool> {
        let flushed = match self.layer.as_deref_mut() {
            None => true,
            Some(Layer::Waiting(outbox)) => outbox.flush(&mut self.stream, &mut writing.backlog)?,
            Some(Layer::Secure(secure)) => return secure.flush(&mut self.stream, writing),
        };
        if flushed {
            self.let_go(&mut writing.backlog);
        }
        Ok(flushed)
    }

    /// Takes sealed bytes from its socket and appends what they hold to `plain`; what the protocol
    /// answers is written. An error of the protocol's comes as [`io::ErrorKind::InvalidData`].
    pub fn unseal(
        &mut self,
        sealed: &mut [u8],
        plain: &mut Vec<u8>,
        writing: &mut Writing,
    ) -> io::Result<Received> {
        let Some(Layer::Secure(secure)) = self.layer.as_deref_mut() else {
            return Ok(Received::default());
        };
        writing.sealed.clear();
        let seal = &mut secure.seal;
        let received = seal.session.receive(sealed, plain, &mut writing.sealed);
        secure.with_socket(&mut self.stream, writing, |socket, _| socket.send())?;
        received.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Tells a TLS client that nothing more comes. Nothing may wait; a socket that has no room for
    /// it does without.
    pub fn say_goodbye(&mut self, writing: &mut Writing) -> io::Result<()> {
        let Some(Layer::Secure(secure)) = self.layer.as_deref_mut() else {
            return Ok(());
        };
        if secure.seal.session.is_handshaking() {
            return Ok(());
        }
        writing.sealed.clear();
        let seal = &mut secure.seal;
        seal.session
            .say_goodbye(&mut writing.sealed)
            .map_err(io::Error::other)?;
        secure.with_socket(&mut self.stream, writing, |socket, _| socket.send())
    }

    /// Nothing waits any more, written or not.
    pub fn let_go(&mut self, backlog: &mut Backlog) {
        match self.layer.take().map(|layer| *layer) {
            None => {}
            Some(Layer::Waiting(outbox)) => outbox.let_go(backlog),
            Some(Layer::Secure(mut secure)) => {
                if let Some(outbox) = secure.outbox.take() {
                    outbox.let_go(backlog);
                }
                secure.seal.unsent = Vec::new();
                secure.seal.recount(backlog);
            }
        }
    }
}

impl Secure {
    /// What waits behind the ciphertext.
    pub(super) fn outbox(&mut self) -> &mut Option<Box<Outbox>> {
        &mut self.outbox
    }

    /// Lets `work` write to the socket through the seal.
    pub(super) fn with_socket<T>(
        &mut self,
        stream: &mut TcpStream,
        writing: &mut Writing,
        work: impl FnOnce(&mut Socket<'_>, &mut Backlog) -> io::Result<T>,
    ) -> io::Result<T> {
        let Writing {
            backlog,
            sealed,
            gathered,
        } = writing;
        let seal = &mut self.seal;
        let mut socket = Socket {
            seal,
            stream,
            sealed,
            gathered,
        };
        let done = work(&mut socket, backlog);
        self.seal.recount(backlog);
        done
    }

    fn flush(&mut self, stream: &mut TcpStream, writing: &mut Writing) -> io::Result<bool> {
        let Some(mut outbox) = self.outbox.take() else {
            return self.with_socket(stream, writing, |socket, _| socket.flush_unsent());
        };
        let flushed = self.with_socket(stream, writing, |socket, backlog| {
            outbox.flush(socket, backlog)
        });
        if let Ok(true) = flushed {
            outbox.let_go(&mut writing.backlog);
        } else {
            self.outbox = Some(outbox);
        }
        Ok(flushed? && self.seal.waiting() == 0)
    }
}

impl Seal {
    fn waiting(&self) -> usize {
        self.unsent.len() - self.written
    }

    /// Tells the backlog what is kept now.
    fn recount(&mut self, backlog: &mut Backlog) {
        let now = self.unsent.capacity();
        if now != self.counted {
            backlog.recount(self.counted, now);
            self.counted = now;
        }
    }
}

/// A TLS connection's socket: takes plain bytes as far as the real one takes what they become, and
/// one part more.
pub(super) struct Socket<'a> {
    seal: &'a mut Seal,
    stream: &'a mut TcpStream,
    sealed: &'a mut Output,
    gathered: &'a mut Vec<u8>,
}

impl Socket<'_> {
    /// True: no ciphertext waits any more.
    fn flush_unsent(&mut self) -> io::Result<bool> {
        let seal = &mut *self.seal;
        if seal.waiting() > 0 {
            seal.written += write(self.stream, &seal.unsent[seal.written..])?;
            if seal.waiting() > 0 {
                return Ok(false);
            }
            seal.unsent = Vec::new();
            seal.written = 0;
        }
        Ok(true)
    }

    /// Writes what is in `sealed`, behind what waits, and keeps what the socket does not take.
    fn send(&mut self) -> io::Result<()> {
        let sealed = self.sealed.bytes();
        if sealed.is_empty() {
            return Ok(());
        }
        let taken = match self.seal.waiting() {
            0 => write(self.stream, sealed)?,
            _ => 0,
        };
        self.seal.unsent.extend_from_slice(&sealed[taken..]);
        Ok(())
    }

    /// True: the socket has taken it, and takes more.
    fn seal_and_send(&mut self, plain: &[u8]) -> io::Result<bool> {
        self.sealed.clear();
        let sealed = self.seal.session.seal(plain, self.sealed);
        sealed.map_err(io::Error::other)?;
        self.send()?;
        Ok(self.seal.waiting() == 0)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        if !self.flush_unsent()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        for part in plain.chunks(limits::TLS_SEAL) {
            taken += part.len();
            if !self.seal_and_send(part)? {
                break;
            }
        }
        Ok(taken)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if let [slice] = slices {
            return self.write(slice);
        }
        if !self.flush_unsent()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut part = std::mem::take(self.gathered);
        part.clear();
        let taken = self.gather(slices, &mut part);
        *self.gathered = part;
        taken
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket<'_> {
    /// Writes the slices, in parts that are put together in `part`.
    fn gather(&mut self, slices: &[IoSlice<'_>], part: &mut Vec<u8>) -> io::Result<usize> {
        let mut taken = 0;
        for slice in slices {
            let mut rest = &slice[..];
            while !rest.is_empty() {
                let room = limits::TLS_SEAL - part.len();
                let (now, later) = rest.split_at(room.min(rest.len()));
                part.extend_from_slice(now);
                rest = later;
                if part.len() == limits::TLS_SEAL {
                    taken += part.len();
                    if !self.seal_and_send(part)? {
                        return Ok(taken);
                    }
                    part.clear();
                }
            }
        }
        if !part.is_empty() {
            taken += part.len();
            self.seal_and_send(part)?;
        }
        Ok(taken)
    }
}
