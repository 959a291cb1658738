//! From the bytes a client sent to its messages: the inbound state machine of one connection.
//!
//! Owns what is left of a frame or message that was cut off, and nothing while there is no such
//! rest: messages that arrive whole are unmasked and read where the reactor read them to. Called by
//! the reactor after each read, in a loop until there is no further message.

use serde::{Deserialize, Serialize};
use tungstenite::protocol::frame::coding::CloseCode;

use super::close::CloseReason;
use super::frame::{self, CONTROL_PAYLOAD_MAX, Expected, HEADER_MAX, Header, Opcode};

/// Puts a client's messages together. Empty, it is one null pointer.
#[derive(Debug, Default)]
pub struct Assembler {
    held: Option<Box<Held>>,
}

/// One whole message or control frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message, where [`Limits::binary`] lets one come.
    Binary(&'a [u8]),
    /// A ping, to be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The client closes, with its code and reason. Nothing after it counts.
    Close(Option<u16>, &'a str),
}

/// What is kept of a cut-off message, to be taken over by another process.
#[derive(Debug, Serialize, Deserialize)]
pub struct PartialMessage {
    message: Vec<u8>,
    checked: usize,
    binary: bool,
    continuing: bool,
    frame: Option<Header>,
    received: usize,
    header: Vec<u8>,
    control: Vec<u8>,
}

/// What a client may send now; it may change from call to call.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most bytes of one message, over all its fragments. Judged by the announced length, before
    /// anything is kept.
    pub message: usize,
    /// Whether messages may be binary, too; else one is refused at its first byte.
    pub binary: bool,
}

impl Assembler {
    /// Takes the next whole message from `input`, the bytes just read, which are unmasked in place.
    ///
    /// `consumed` is how many of them earlier calls took, and advances. `None`: all are taken, and
    /// a cut-off rest is kept for the next read.
    ///
    /// # Errors
    /// How the client broke RFC 6455 or the limits; the connection is then to be closed for that
    /// reason, and this must not be called again.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        consumed: &mut usize,
        limits: Limits,
    ) -> Result<Option<Incoming<'a>>, CloseReason> {
        self.release();
        let found = loop {
            if *consumed == input.len() {
                self.release();
                return Ok(None);
            }
            if let Some(found) = self.advance(input, consumed, limits)? {
                break found;
            }
        };
        let payload = match (found.place, self.held.as_deref()) {
            (Place::Input { start, end }, _) => &input[start..end],
            (Place::Message, Some(held)) => &held.message[..],
            (Place::Control, Some(held)) => &held.control[..held.control_len],
            (Place::Message | Place::Control, None) => &[],
        };
        incoming(found.opcode, payload).map(Some)
    }

    /// The memory that a message takes whose end has not come, in bytes.
    pub fn unfinished(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.message.capacity())
    }

    /// Whether a frame or message was cut off, its end awaited.
    pub fn is_amid(&self) -> bool {
        self.held.is_some()
    }

    /// Bytes of the message that have come whose end has not.
    pub fn begun(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.message.len())
    }

    /// What is kept of a cut-off message, if there is one.
    pub fn partial(&self) -> Option<PartialMessage> {
        let held = self.held.as_deref().filter(|held| !held.is_spent())?;
        Some(PartialMessage {
            message: held.message.clone(),
            checked: held.checked,
            binary: held.binary,
            continuing: held.continuing,
            frame: held.frame,
            received: held.received,
            header: held.header[..held.header_len].to_vec(),
            control: held.control[..held.control_len].to_vec(),
        })
    }

    /// One that goes on with what another process has kept.
    pub fn go_on(partial: PartialMessage) -> Assembler {
        let mut held = Held {
            message: partial.message,
            checked: partial.checked,
            binary: partial.binary,
            continuing: partial.continuing,
            frame: partial.frame,
            received: partial.received,
            ..Held::default()
        };
        held.header_len = put_front(&mut held.header, &partial.header);
        held.control_len = put_front(&mut held.control, &partial.control);
        Assembler {
            held: Some(Box::new(held)),
        }
    }

    /// Bytes on the heap for this connection.
    pub fn held_bytes(&self) -> usize {
        self.held
            .as_deref()
            .map_or(0, |held| size_of::<Held>() + held.message.capacity())
    }

    /// Frees what is kept once it is of no further use.
    fn release(&mut self) {
        if self.held.as_deref().is_some_and(Held::is_spent) {
            self.held = None;
        }
    }

    /// Takes one step: a header, as much of its payload as is there, or both.
    fn advance(
        &mut self,
        input: &mut [u8],
        consumed: &mut usize,
        limits: Limits,
    ) -> Result<Option<Found>, CloseReason> {
        if self.held.as_deref().is_none_or(|held| held.frame.is_none()) {
            let Some(header) = self.take_header(input, consumed, limits.binary)? else {
                return Ok(None);
            };
            let begun = self.held.as_deref().map_or(0, |held| held.message.len());
            if !header.opcode.is_control()
                && header.payload > limits.message.saturating_sub(begun) as u64
            {
                return Err(CloseReason::TooBig);
            }
            if let Some(found) = self.take_whole(header, input, consumed) {
                return Ok(Some(found));
            }
            self.held.get_or_insert_default().open(header);
        }
        match self.held.as_deref_mut() {
            Some(held) => held.take_payload(input, consumed, limits.message),
            None => Ok(None),
        }
    }

    /// Reads the next frame's header, or keeps the part of it that is there.
    fn take_header(
        &mut self,
        input: &[u8],
        consumed: &mut usize,
        binary: bool,
    ) -> Result<Option<Header>, CloseReason> {
        let rest = &input[*consumed..];
        let (continuing, kept) = self
            .held
            .as_deref()
            .map_or((false, 0), |held| (held.continuing, held.header_len));
        let expected = match (continuing, binary) {
            (true, _) => Expected::Continuation,
            (false, true) => Expected::Message,
            (false, false) => Expected::Text,
        };
        if kept == 0
            && let Some(header) = frame::parse_header(rest, expected)?
        {
            *consumed += header.len;
            return Ok(Some(header));
        }
        let held = self.held.get_or_insert_default();
        let more = rest.len().min(HEADER_MAX - kept);
        held.header[kept..kept + more].copy_from_slice(&rest[..more]);
        match frame::parse_header(&held.header[..kept + more], expected)? {
            Some(header) => {
                held.header_len = 0;
                *consumed += header.len - kept;
                Ok(Some(header))
            }
            None => {
                held.header_len = kept + more;
                *consumed += more;
                Ok(None)
            }
        }
    }

    /// The usual case: the whole frame lies in the input, and is the whole message or a control
    /// frame. Nothing is copied.
    fn take_whole(&self, header: Header, input: &mut [u8], consumed: &mut usize) -> Option<Found> {
        let alone = matches!(header.opcode, Opcode::Text | Opcode::Binary) && header.last;
        if !alone && !header.opcode.is_control() {
            return None;
        }
        let start = *consumed;
        let len = usize::try_from(header.payload).ok()?;
        let end = start.checked_add(len).filter(|&end| end <= input.len())?;
        frame::unmask(&mut input[start..end], header.mask, 0);
        *consumed = end;
        Some(Found {
            opcode: header.opcode,
            place: Place::Input { start, end },
        })
    }
}

/// What a connection keeps while a frame or message is cut off.
#[derive(Debug)]
struct Held {
    /// The unmasked payload of the message so far.
    message: Vec<u8>,
    /// How much of a text message is known to be UTF-8.
    checked: usize,
    /// The message is binary.
    binary: bool,
    /// A message has begun and its last frame has not.
    continuing: bool,
    /// `message` is complete and was handed out.
    done: bool,
    /// The frame whose payload is being received, and how much of it is here.
    frame: Option<Header>,
    received: usize,
    header: [u8; HEADER_MAX],
    header_len: usize,
    control: [u8; CONTROL_PAYLOAD_MAX],
    control_len: usize,
}

/// Copies as much as fits; says how much that was.
fn put_front(room: &mut [u8], bytes: &[u8]) -> usize {
    let len = bytes.len().min(room.len());
    room[..len].copy_from_slice(&bytes[..len]);
    len
}

/// Where a whole message lies.
struct Found {
    opcode: Opcode,
    place: Place,
}

enum Place {
    Input { start: usize, end: usize },
    Message,
    Control,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            message: Vec::new(),
            checked: 0,
            binary: false,
            continuing: false,
            done: false,
            frame: None,
            received: 0,
            header: [0; HEADER_MAX],
            header_len: 0,
            control: [0; CONTROL_PAYLOAD_MAX],
            control_len: 0,
        }
    }
}

impl Held {
    fn is_spent(&self) -> bool {
        self.done || (self.frame.is_none() && self.header_len == 0 && !self.continuing)
    }

    fn open(&mut self, header: Header) {
        self.frame = Some(header);
        self.received = 0;
        match header.opcode {
            Opcode::Text | Opcode::Binary => self.binary = header.opcode == Opcode::Binary,
            Opcode::Continuation => {}
            Opcode::Close | Opcode::Ping | Opcode::Pong => self.control_len = 0,
        }
    }

    /// Takes as much of the open frame's payload as is there. `most` is the longest message.
    fn take_payload(
        &mut self,
        input: &[u8],
        consumed: &mut usize,
        most: usize,
    ) -> Result<Option<Found>, CloseReason> {
        let Some(header) = self.frame else {
            return Ok(None);
        };
        let rest = &input[*consumed..];
        let missing = header.payload - self.received as u64;
        let taken = usize::try_from(missing).map_or(rest.len(), |missing| missing.min(rest.len()));
        let piece = &rest[..taken];
        *consumed += taken;
        if header.opcode.is_control() {
            let (start, end) = (self.control_len, self.control_len + taken);
            self.control[start..end].copy_from_slice(piece);
            frame::unmask(&mut self.control[start..end], header.mask, self.received);
            self.control_len = end;
        } else {
            self.append(piece, header, missing, most)?;
        }
        self.received += taken;
        if (self.received as u64) < header.payload {
            return Ok(None);
        }
        self.frame = None;
        if header.opcode.is_control() {
            return Ok(Some(Found {
                opcode: header.opcode,
                place: Place::Control,
            }));
        }
        self.continuing = !header.last;
        if self.continuing {
            return Ok(None);
        }
        self.done = true;
        let opcode = if self.binary {
            Opcode::Binary
        } else {
            Opcode::Text
        };
        Ok(Some(Found {
            opcode,
            place: Place::Message,
        }))
    }

    /// Appends a piece of a message, and fails at once where a text cannot become UTF-8.
    fn append(
        &mut self,
        piece: &[u8],
        header: Header,
        missing: u64,
        most: usize,
    ) -> Result<(), CloseReason> {
        let start = self.message.len();
        let needed = start + piece.len();
        if needed > self.message.capacity() {
            // Grows with what has come, never beyond what was announced and allowed. More fragments
            // are announced by each but the last one: many tiny ones must not each move all before them.
            let announced = match usize::try_from(missing) {
                Ok(more) if header.last => start + more,
                _ => most,
            };
            let capacity = needed.saturating_mul(2).min(announced).max(needed);
            self.message.reserve_exact(capacity - start);
        }
        self.message.extend_from_slice(piece);
        frame::unmask(&mut self.message[start..], header.mask, self.received);
        if self.binary {
            return Ok(());
        }
        match std::str::from_utf8(&self.message[self.checked..]) {
            Ok(_) => self.checked = self.message.len(),
            Err(error) if error.error_len().is_some() => return Err(CloseReason::InvalidUtf8),
            Err(error) => self.checked += error.valid_up_to(),
        }
        Ok(())
    }
}

/// The payload of a whole message as what it means (RFC 6455 sections 5.5 and 5.6).
fn incoming(opcode: Opcode, payload: &[u8]) -> Result<Incoming<'_>, CloseReason> {
    match opcode {
        Opcode::Ping => Ok(Incoming::Ping(payload)),
        Opcode::Pong => Ok(Incoming::Pong(payload)),
        Opcode::Close => close(payload),
        Opcode::Text | Opcode::Continuation => Ok(Incoming::Text(text(payload)?)),
        Opcode::Binary => Ok(Incoming::Binary(payload)),
    }
}

fn close(payload: &[u8]) -> Result<Incoming<'_>, CloseReason> {
    match payload {
        [] => Ok(Incoming::Close(None, "")),
        [_] => Err(CloseReason::Protocol("a close frame with half a code")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !CloseCode::from(code).is_allowed() {
                return Err(CloseReason::Protocol("a close code that must not be sent"));
            }
            Ok(Incoming::Close(Some(code), text(reason)?))
        }
    }
}

fn text(payload: &[u8]) -> Result<&str, CloseReason> {
    std::str::from_utf8(payload).map_err(|_| CloseReason::InvalidUtf8)
}

#[cfg(test)]
mod tests;
