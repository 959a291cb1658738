//! One connection's TLS: sealed bytes in, plain bytes out, and the other way round.
//!
//! Owned by a reactor's connection. Of what comes in only a cut-off record is kept, of what goes
//! out nothing: both pass through buffers of the reactor. That is why this is rustls' unbuffered
//! connection; the other one keeps buffers of its own, over twice as much.

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedStatus,
};
use rustls::{Error, HandshakeKind};

use super::Acceptor;
use crate::limits;

/// The first byte of a TLS record that carries a handshake (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Whether a client that begins with these bytes speaks TLS.
pub fn begins_handshake(bytes: &[u8]) -> bool {
    bytes.first() == Some(&HANDSHAKE_RECORD)
}

/// A connection's keys and state.
pub struct Session {
    connection: UnbufferedServerConnection,
    /// The beginning of a record, or records that hold the beginning of a handshake message.
    cut_off: Vec<u8>,
    /// The client broke the protocol: the connection must not be asked for anything any more.
    has_failed: bool,
}

/// What came of sealed bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// A flight of the handshake was answered, which is what costs time.
    pub answered: bool,
    /// The client said that nothing more comes (close_notify).
    pub closed: bool,
}

impl Session {
    /// A session that awaits a handshake.
    ///
    /// # Errors
    /// If the acceptor cannot be used.
    pub fn new(acceptor: &Acceptor) -> Result<Session, Error> {
        Ok(Session {
            connection: UnbufferedServerConnection::new(Acceptor::clone(acceptor))?,
            cut_off: Vec::new(),
            has_failed: false,
        })
    }

    /// Whether the handshake is still under way, so that nothing can be sealed.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the client came back by a ticket; only known after the handshake.
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Bytes on the heap that are kept of what came in.
    pub fn kept(&self) -> usize {
        self.cut_off.capacity()
    }

    /// Takes sealed bytes: appends what they hold to `plain`, and what the protocol answers to
    /// `output`.
    ///
    /// # Errors
    /// If they break the protocol or its bounds; `output` may then end with the alert that says so,
    /// and the session is of no more use.
    pub fn receive(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        output: &mut Output,
    ) -> Result<Received, Error> {
        let received = self.take(input, plain, output);
        self.has_failed |= received.is_err();
        received
    }

    /// Appends `plain`, sealed, to `output`.
    ///
    /// # Errors
    /// While the handshake is under way, after a failure, and when the keys are used up (TLS 1.2).
    pub fn seal(&mut self, plain: &[u8], output: &mut Output) -> Result<(), Error> {
        self.write(
            output,
            |state, room| state.encrypt(plain, room),
            plain.len(),
        )
    }

    /// Appends the close_notify that ends what we send (RFC 8446 section 6.1).
    ///
    /// # Errors
    /// While the handshake is under way, and after a failure.
    pub fn say_goodbye(&mut self, output: &mut Output) -> Result<(), Error> {
        self.write(output, |state, room| state.queue_close_notify(room), 0)
    }

    fn take(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        output: &mut Output,
    ) -> Result<Received, Error> {
        self.check_use()?;
        let mut kept = std::mem::take(&mut self.cut_off);
        let received = if kept.is_empty() {
            let (taken, received) = self.process(input, plain, output)?;
            kept.extend_from_slice(&input[taken..]);
            received
        } else {
            kept.extend_from_slice(input);
            let (taken, received) = self.process(&mut kept, plain, output)?;
            kept.drain(..taken);
            received
        };
        if !kept.is_empty() && !received.closed {
            self.cut_off = kept;
            self.check_bounds()?;
        }
        Ok(received)
    }

    fn check_use(&self) -> Result<(), Error> {
        if self.has_failed {
            return Err(Error::General("it has failed before".into()));
        }
        Ok(())
    }

    /// Passes records on until more are needed. Returns how many bytes of them are done with.
    fn process(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        output: &mut Output,
    ) -> Result<(usize, Received), Error> {
        let (mut taken, mut received) = (0, Received::default());
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut input[taken..]);
            let goes_on = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    true
                }
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    received.answered = true;
                    encode(data, output)?;
                    true
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    true
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => false,
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    received.closed = true;
                    false
                }
                Ok(_) => return Err(Error::General("early data was never offered".into())),
                Err(error) => {
                    self.put_alert(&mut input[taken + discard..], output);
                    return Err(error);
                }
            };
            taken += discard;
            if !goes_on {
                return Ok((taken, received));
            }
        }
    }

    /// After an error: what was to be sent until then, and the alert that tells the client of it.
    fn put_alert(&mut self, rest: &mut [u8], output: &mut Output) {
        // Asked once more than that, the connection would look at the faulty record again.
        while self.connection.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(data)) =
                self.connection.process_tls_records(rest).state
            else {
                return;
            };
            // It ends anyway, with or without these words.
            encode(data, output).ok();
        }
    }

    /// What an attacker can have us keep: a handshake's beginning, then one record.
    fn check_bounds(&self) -> Result<(), Error> {
        let most = if self.is_handshaking() {
            limits::TLS_HANDSHAKE_MAX
        } else {
            limits::TLS_RECORD_MAX
        };
        if self.cut_off.len() > most {
            return Err(Error::General(format!("over {most} bytes of one message")));
        }
        Ok(())
    }

    /// Brings the session to where it can send, and lets `put` write about `length` bytes.
    fn write(
        &mut self,
        output: &mut Output,
        mut put: impl FnMut(&mut Writing<'_>, &mut [u8]) -> Result<usize, EncryptError>,
        length: usize,
    ) -> Result<(), Error> {
        self.check_use()?;
        loop {
            // It looks again at a message whose beginning it has seen, so that has to be there.
            match self
                .connection
                .process_tls_records(&mut self.cut_off)
                .state?
            {
                ConnectionState::WriteTraffic(mut state) => {
                    let mut room = sealed_length(length);
                    loop {
                        match put(&mut state, output.room(room)) {
                            Ok(written) => {
                                output.took(written);
                                return Ok(());
                            }
                            Err(EncryptError::InsufficientSize(InsufficientSizeError {
                                required_size,
                            })) => room = required_size,
                            Err(EncryptError::EncryptExhausted) => {
                                return Err(Error::EncryptError);
                            }
                        }
                    }
                }
                ConnectionState::EncodeTlsData(data) => encode(data, output)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => return Err(Error::HandshakeNotComplete),
            }
        }
    }
}

type Writing<'a> = rustls::unbuffered::WriteTraffic<'a, ServerConnectionData>;

/// Room that is enough for so many bytes in records of either version.
fn sealed_length(plain: usize) -> usize {
    const RECORD: usize = 16 * 1024;
    const OVERHEAD: usize = 64;
    plain + (plain / RECORD + 1) * OVERHEAD
}

fn encode(
    mut data: EncodeTlsData<'_, ServerConnectionData>,
    output: &mut Output,
) -> Result<(), Error> {
    let mut room = 0;
    loop {
        match data.encode(output.room(room)) {
            Ok(written) => {
                output.took(written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                room = required_size;
            }
            Err(EncodeError::AlreadyEncoded) => return Ok(()),
        }
    }
}

/// Sealed bytes on their way to a socket: a buffer that is used again without being wiped.
#[derive(Default)]
pub struct Output {
    bytes: Vec<u8>,
    length: usize,
}

impl Output {
    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// At least so many bytes behind what is in it.
    fn room(&mut self, least: usize) -> &mut [u8] {
        let end = self.length + least;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.length..]
    }

    /// So many bytes of the room are filled.
    fn took(&mut self, count: usize) {
        self.length += count;
    }
}
