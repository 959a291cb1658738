//! What the server says on the ingest socket, one JSON object a line.
//!
//! Owns the reading of acks, refusals and results. Used by `emit` and `ctl`.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::unix::net::UnixStream;

use serde::Deserialize;
use serde_json::Value;

/// One line from the server.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Answer {
    /// The first `ack` lines of this connection are settled.
    Ack {
        ack: u64,
        /// The newest accepted event of this connection.
        id: Option<String>,
    },
    Error {
        error: Refusal,
    },
    Result {
        result: Value,
    },
}

/// Why a line was refused.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Refusal {
    pub(super) line: u64,
    pub(super) code: String,
    pub(super) field: Option<String>,
    pub(super) message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)?;
        if let Some(field) = &self.field {
            write!(f, " {field}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// What reading gave.
pub(super) enum Next {
    Answer(Answer),
    /// Nothing came within the stream's read timeout.
    Nothing,
    /// The server closed the connection.
    End,
}

/// Reads answers from a stream that may have a read timeout.
pub(super) struct Answers {
    stream: BufReader<UnixStream>,
    line: Vec<u8>,
}

impl Answers {
    pub(super) fn new(stream: UnixStream) -> Answers {
        Answers {
            stream: BufReader::new(stream),
            line: Vec::new(),
        }
    }

    /// The next answer. A line cut in two by the timeout is kept for the next call.
    pub(super) fn next(&mut self) -> io::Result<Next> {
        match self.stream.read_until(b'\n', &mut self.line) {
            Ok(_) if self.line.ends_with(b"\n") => {
                let answer = serde_json::from_slice(&self.line).map_err(|_| {
                    io::Error::new(
                        ErrorKind::InvalidData,
                        "the peer does not speak as a shopwire server does",
                    )
                });
                self.line.clear();
                answer.map(Next::Answer)
            }
            Ok(_) => Ok(Next::End),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Next::Nothing),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(Next::End),
                _ => Err(error),
            },
        }
    }
}
