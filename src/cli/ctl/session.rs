//! One connection to a running server: a command, and its answer.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::answers::{Answer, Answers, Next};

/// A connection to the server.
pub(super) struct Session {
    pub(super) socket: UnixStream,
    pub(super) answers: Answers,
    /// The most an answer may take.
    pub(super) within: Duration,
}

impl Session {
    pub(super) fn new(socket: UnixStream, within: Duration) -> Result<Self, String> {
        socket.set_read_timeout(Some(within)).map_err(broken)?;
        Ok(Self {
            answers: Answers::new(socket.try_clone().map_err(broken)?),
            socket,
            within,
        })
    }

    /// Sends one command. Where the server has closed already, what it said before that is the answer.
    pub(super) fn send(&mut self, request: &Value) -> Result<(), String> {
        let line = format!("{request}\n");
        match self.socket.write_all(line.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(broken(error)),
            _ => Ok(()),
        }
    }

    /// Sends one command and waits for its answer.
    pub(super) fn ask(&mut self, request: &Value) -> Result<Value, String> {
        let started = Instant::now();
        self.send(request)?;
        while started.elapsed() < self.within {
            match self.answers.next().map_err(broken)? {
                Next::Answer(Answer::Result { result }) => return Ok(result),
                Next::Answer(Answer::Error { error }) => return Err(error.to_string()),
                Next::Answer(Answer::Ack { .. } | Answer::Copy(_)) => {}
                Next::Nothing => break,
                Next::End => {
                    return Err("the server closed the connection without an answer".into());
                }
            }
        }
        Err(format!(
            "the server did not answer within {:?}",
            self.within
        ))
    }
}

pub(super) fn broken(error: io::Error) -> String {
    format!("the server cannot be talked to: {error}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{BufRead, BufReader};
    use std::thread;

    use serde_json::json;

    use super::*;

    /// What `ask` makes of a server's words.
    fn asked(answer: &'static str) -> Result<Value, String> {
        let (server, client) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(&server).read_line(&mut line).unwrap();
            (&server).write_all(answer.as_bytes()).unwrap();
            line
        });
        let mut session = Session::new(client, Duration::from_secs(5)).unwrap();
        let result = session.ask(&json!({"command": "stats"}));
        assert_eq!(server.join().unwrap(), "{\"command\":\"stats\"}\n");
        result
    }

    #[test]
    fn the_answer_may_come_before_or_after_an_ack() {
        assert_eq!(
            asked("{\"result\":{\"a\":1}}\n{\"ack\":1}\n"),
            Ok(json!({"a": 1}))
        );
        assert_eq!(
            asked("{\"ack\":1}\n{\"result\":{\"a\":1}}\n"),
            Ok(json!({"a": 1}))
        );
    }

    #[test]
    fn a_refusal_and_a_silent_end_are_told() {
        let refused =
            asked("{\"error\":{\"line\":1,\"code\":\"forbidden\",\"message\":\"not you\"}}\n");
        assert_eq!(refused, Err("forbidden: not you".into()));
        assert!(asked("").unwrap_err().contains("closed the connection"));
    }

    #[test]
    fn one_who_is_turned_away_hears_why() {
        let (mut server, client) = UnixStream::pair().unwrap();
        let refusal = b"{\"error\":{\"line\":1,\"code\":\"unavailable\",\"message\":\"full\"}}\n";
        server.write_all(refusal).unwrap();
        drop(server);
        let mut session = Session::new(client, Duration::from_secs(5)).unwrap();
        let result = session.ask(&json!({"command": "stats"}));
        assert_eq!(result, Err("unavailable: full".into()));
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up() {
        let (_server, client) = UnixStream::pair().unwrap();
        let mut session = Session::new(client, Duration::from_millis(20)).unwrap();
        let result = session.ask(&json!({}));
        assert!(result.unwrap_err().contains("did not answer"));
    }
}
