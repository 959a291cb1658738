//! An emitter's connection, and the frames of one chunk read from it.

use std::io::{self, ErrorKind, Read, Write};

use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter};
use mio::net::UnixStream;

/// What stands before the name of the customer whose event a line is.
const CUSTOMER: &str = r#""customerId":""#;

/// What each line is wrapped into, so that a frame is as long as shopwire's: an id, a namespace and a
/// time, always the same ones.
const ENVELOPE: &[u8] =
    br#"{"id":"0000000000000-0000000","namespace":"orders","timestamp":1700000000000,"#;

/// An emitter's connection.
pub struct Emitter {
    stream: UnixStream,
    /// A line that is cut off.
    held: Vec<u8>,
    settled: u64,
}

/// The frames of one chunk, end to end.
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each frame begins.
    starts: Vec<usize>,
    customer: Finder<'static>,
}

impl Emitter {
    /// A connection just accepted.
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            held: Vec::new(),
            settled: 0,
        }
    }

    /// Reads one chunk and makes frames of its lines. Returns its bytes, 0 if there was nothing to read.
    ///
    /// # Errors
    /// Where the emitter has gone.
    pub fn read(&mut self, scratch: &mut [u8], batch: &mut Batch) -> io::Result<usize> {
        let length = match self.stream.read(scratch) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut rest = &scratch[..length];
        if !self.held.is_empty() {
            let end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            self.held.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
            if self.held.ends_with(b"\n") {
                let line = std::mem::take(&mut self.held);
                batch.push(&line[..line.len() - 1]);
                self.settled += 1;
            }
        }
        let mut start = 0;
        for end in memchr_iter(b'\n', rest) {
            batch.push(&rest[start..end]);
            self.settled += 1;
            start = end + 1;
        }
        self.held.extend_from_slice(&rest[start..]);
        Ok(length)
    }

    /// Says how many lines have been sent on.
    ///
    /// # Errors
    /// Where the emitter has gone, or reads no answers.
    pub fn acknowledge(&mut self) -> io::Result<()> {
        let mut answer = [0; 64];
        let mut room = &mut answer[..];
        writeln!(room, r#"{{"ack":{},"id":"0"}}"#, self.settled)?;
        let left = room.len();
        self.stream.write_all(&answer[..answer.len() - left])
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            starts: Vec::new(),
            customer: Finder::new(CUSTOMER),
        }
    }
}

impl Batch {
    /// All frames.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Each frame with the customer's name in it.
    pub fn addressed(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let ends = self.starts.iter().skip(1).copied();
        let ends = ends.chain([self.bytes.len()]);
        let frames = self.starts.iter().zip(ends);
        frames.filter_map(|(&start, end)| {
            let frame = &self.bytes[start..end];
            let name = &frame[self.customer.find(frame)? + CUSTOMER.len()..];
            Some((&name[..memchr(b'"', name)?], frame))
        })
    }

    /// Forgets the frames, and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
    }

    /// Makes a frame of a line, an object that has something in it.
    fn push(&mut self, line: &[u8]) {
        let Some(fields) = line.strip_prefix(b"{") else {
            return;
        };
        self.starts.push(self.bytes.len());
        self.bytes.push(0x81);
        let length = ENVELOPE.len() + fields.len();
        match u16::try_from(length) {
            Ok(short) if short < 126 => self.bytes.push(short as u8),
            Ok(medium) => {
                self.bytes.push(126);
                self.bytes.extend_from_slice(&medium.to_be_bytes());
            }
            Err(_) => {
                self.bytes.push(127);
                self.bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        self.bytes.extend_from_slice(ENVELOPE);
        self.bytes.extend_from_slice(fields);
    }
}
