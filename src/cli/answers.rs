//! What the server says on the ingest socket, one JSON object a line.
//!
//! Owns the reading of acks, refusals, results and copies. Used by `emit` and `ctl`.

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
    /// A copy of an event, for one who taps: the line as it came.
    #[serde(skip)]
    Copy(String),
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
        // Most messages begin with the field themselves.
        if let Some(field) = self
            .field
            .as_deref()
            .filter(|field| !self.message.contains(field))
        {
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
                let answer = read(&self.line);
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

fn read(line: &[u8]) -> io::Result<Answer> {
    // Numbers are passed on as they were written, so that a copy is not taken apart.
    let copy = line.starts_with(b"{\"event\":").then(|| line.to_vec());
    let answer = match copy {
        Some(copy) => String::from_utf8(copy).ok().map(Answer::Copy),
        None => serde_json::from_slice(line).ok(),
    };
    answer.ok_or_else(|| {
        io::Error::new(
            ErrorKind::InvalidData,
            "the peer does not speak as a shopwire server does",
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn answers_to(bytes: &[u8]) -> (Answers, UnixStream) {
        let (mut server, client) = UnixStream::pair().unwrap();
        client
            .set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        server.write_all(bytes).unwrap();
        (Answers::new(client), server)
    }

    #[test]
    fn every_kind_of_line_is_told_apart() {
        let lines = "{\"ack\":3,\"id\":\"a-1\"}\n{\"ack\":4}\n{\"result\":{\"x\":1}}\n\
            {\"error\":{\"line\":2,\"code\":\"invalid_payload\",\"field\":\"data.total\",\"message\":\"too small\"}}\n";
        let (mut answers, server) = answers_to(lines.as_bytes());
        drop(server);
        let mut next = || match answers.next().unwrap() {
            Next::Answer(answer) => Some(answer),
            _ => None,
        };
        assert_eq!(
            next(),
            Some(Answer::Ack {
                ack: 3,
                id: Some("a-1".into())
            })
        );
        assert_eq!(next(), Some(Answer::Ack { ack: 4, id: None }));
        assert_eq!(
            next(),
            Some(Answer::Result {
                result: json!({"x": 1})
            })
        );
        let Some(Answer::Error { error }) = next() else {
            panic!("no error")
        };
        assert_eq!(
            (error.line, error.to_string().as_str()),
            (2, "invalid_payload data.total: too small")
        );
        assert_eq!(next(), None);
    }

    #[test]
    fn a_copy_is_left_as_it_is() {
        let line = "{\"event\":{\"data\":{\"total\":1.50}},\"to\":{}}\n";
        let (mut answers, _server) = answers_to(line.as_bytes());
        assert!(
            matches!(answers.next().unwrap(), Next::Answer(Answer::Copy(copy)) if copy == line)
        );
    }

    #[test]
    fn a_line_in_two_pieces_is_one_answer() {
        let (mut answers, mut server) = answers_to(b"{\"ack\"");
        assert!(matches!(answers.next().unwrap(), Next::Nothing));
        server.write_all(b":1}\n").unwrap();
        assert!(matches!(
            answers.next().unwrap(),
            Next::Answer(Answer::Ack { ack: 1, .. })
        ));
    }

    #[test]
    fn a_peer_of_another_kind_is_an_error() {
        let (mut answers, _server) = answers_to(b"220 mail.example ESMTP\r\n");
        assert!(answers.next().is_err());
    }
}
