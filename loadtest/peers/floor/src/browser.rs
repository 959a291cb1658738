//! One browser's connection: upgraded, greeted, subscribed, sent to.

use std::io::{self, Cursor, ErrorKind, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memmem;
use mio::net::TcpStream;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// A browser's connection.
pub struct Browser {
    stream: TcpStream,
    is_upgraded: bool,
    is_subscribed: bool,
    /// A request or frame that is cut off.
    held: Vec<u8>,
    /// What the socket did not take.
    outbox: Vec<u8>,
}

impl Browser {
    /// A connection just accepted.
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            is_upgraded: false,
            is_subscribed: false,
            held: Vec::new(),
            outbox: Vec::new(),
        }
    }

    /// Sends `bytes`, with one `send` where the socket takes them.
    #[inline]
    pub fn send_if_subscribed(&mut self, bytes: &[u8]) {
        if self.is_subscribed {
            self.send(bytes);
        }
    }

    /// Writes what waits and reads what is there, `at_end` as far as the end. Returns the user's name
    /// if it has just been told and `wants_user`.
    ///
    /// # Errors
    /// Where the connection has ended.
    pub fn turn(
        &mut self,
        at_end: bool,
        wants_user: bool,
        scratch: &mut [u8],
    ) -> io::Result<Option<Vec<u8>>> {
        if !self.outbox.is_empty() {
            let waiting = std::mem::take(&mut self.outbox);
            self.send(&waiting);
        }
        let mut user = None;
        loop {
            let length = match self.stream.read(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(user),
                Err(error) => return Err(error),
            };
            self.held.extend_from_slice(&scratch[..length]);
            if !self.is_upgraded {
                self.upgrade()?;
            }
            while self.is_upgraded
                && let Some((opcode, payload)) = self.next_frame()?
            {
                match opcode {
                    OpCode::Data(Data::Text) => {
                        self.answer(&payload);
                        if wants_user {
                            user = user_of(&payload).or(user);
                        }
                    }
                    OpCode::Control(Control::Close) => {
                        self.send_frame(0x88, &payload);
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                    _ => {}
                }
            }
            if self.held.is_empty() {
                self.held = Vec::new();
            }
            if length < scratch.len() && !at_end {
                return Ok(user);
            }
        }
    }

    fn upgrade(&mut self) -> io::Result<()> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(length)) = request.parse(&self.held) else {
            return Ok(());
        };
        let key = request
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case("sec-websocket-key"))
            .ok_or(ErrorKind::InvalidData)?;
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.value)
        );
        self.held.drain(..length);
        self.is_upgraded = true;
        let mut out = answer.into_bytes();
        put_frame(0x81, br#"{"type":"welcome","data":{}}"#, &mut out);
        self.send(&out);
        Ok(())
    }

    /// Takes the next whole frame out of what is held.
    fn next_frame(&mut self) -> io::Result<Option<(OpCode, Vec<u8>)>> {
        let mut cursor = Cursor::new(&self.held);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| ErrorKind::InvalidData)?;
        let start = cursor.position() as usize;
        let Some((header, length)) = parsed else {
            return Ok(None);
        };
        let end = start + length as usize;
        let Some(payload) = self.held.get(start..end) else {
            return Ok(None);
        };
        let mask = header.mask.unwrap_or_default();
        let mut payload = payload.to_vec();
        for word in payload.chunks_mut(mask.len()) {
            for (byte, key) in word.iter_mut().zip(mask) {
                *byte ^= key;
            }
        }
        self.held.drain(..end);
        Ok(Some((header.opcode, payload)))
    }

    /// Says yes to whatever is asked.
    fn answer(&mut self, message: &[u8]) {
        let has = |text: &str| memmem::find(message, text.as_bytes()).is_some();
        if has(r#""type":"auth""#) {
            self.send_frame(0x81, br#"{"type":"authenticated","data":{}}"#);
        } else if has(r#""type":"subscribe""#) {
            self.is_subscribed = true;
            self.send_frame(0x81, br#"{"type":"subscribed","data":{}}"#);
        } else if has(r#""type":"unsubscribe""#) {
            self.is_subscribed = false;
            self.send_frame(0x81, br#"{"type":"unsubscribed","data":{}}"#);
        }
    }

    fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let mut out = Vec::with_capacity(payload.len() + 4);
        put_frame(first, payload, &mut out);
        self.send(&out);
    }

    fn send(&mut self, bytes: &[u8]) {
        let mut taken = 0;
        while self.outbox.is_empty() && taken < bytes.len() {
            match self.stream.write(&bytes[taken..]) {
                Ok(length) => taken += length,
                // A broken connection shows when it is read.
                Err(error) if error.kind() != ErrorKind::WouldBlock => return,
                Err(_) => break,
            }
        }
        self.outbox.extend_from_slice(&bytes[taken..]);
    }
}

/// Appends a frame of at most 65,535 bytes; `first` is its first byte.
pub fn put_frame(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    if payload.len() < 126 {
        out.push(payload.len() as u8);
    } else {
        out.push(126);
        out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    }
    out.extend_from_slice(payload);
}

/// The `sub` of the token in an `auth` message; nobody checks the signature.
fn user_of(message: &[u8]) -> Option<Vec<u8>> {
    let message: serde_json::Value = serde_json::from_slice(message).ok()?;
    let token = message["data"]["token"].as_str()?;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Some(claims["sub"].as_str()?.as_bytes().to_vec())
}
