//! An API route's side of the ingest socket. It checks, on every line it reads, what holds for all of them: acks grow, and
//! an error comes before the ack that covers its line.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::DEADLINE;

/// An error line of the server.
#[derive(Debug, PartialEq)]
pub struct Refused {
    pub line: u64,
    pub code: String,
    pub field: Option<String>,
    pub message: String,
}

/// What a line of the server was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Ack,
    Refused,
    Copy,
    Result,
    End,
}

/// A connection to the ingest socket.
pub struct Emitter {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    sent: u64,
    settled: u64,
    last_id: Option<String>,
    is_local: bool,
    refusals: Vec<Refused>,
    results: Vec<Value>,
    copies: Vec<Value>,
}

impl Emitter {
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket)
            .unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self {
            stream,
            reader,
            sent: 0,
            settled: 0,
            last_id: None,
            is_local: false,
            refusals: Vec::new(),
            results: Vec::new(),
            copies: Vec::new(),
        }
    }

    /// Sends an event that must be accepted, waits until it is settled, and gives its id.
    pub fn emit(&mut self, event: &Value) -> String {
        self.try_emit(event.to_string().as_bytes())
            .unwrap_or_else(|refused| panic!("{event} was refused: {refused:?}"))
    }

    /// Sends one line, waits until it is settled, and gives the newest accepted id or this line's refusal.
    pub fn try_emit(&mut self, line: &[u8]) -> Result<String, Refused> {
        self.send_line(line);
        self.settle();
        let of_this_line = |refused: &Refused| refused.line == self.sent;
        match self.refusals.iter().position(of_this_line) {
            Some(at) => Err(self.refusals.remove(at)),
            None => Ok(self
                .last_id
                .clone()
                .expect("an accepted line's ack has an id")),
        }
    }

    /// Sends one line that must be refused.
    pub fn emit_refused(&mut self, line: &str) -> Refused {
        match self.try_emit(line.as_bytes()) {
            Err(refused) => refused,
            Ok(id) => panic!("this line should be refused, but was accepted as {id}: {line}"),
        }
    }

    /// Sends one line without waiting.
    pub fn send_line(&mut self, line: &[u8]) {
        assert!(!line.contains(&b'\n'), "one line at a time");
        let mut whole = line.to_vec();
        whole.push(b'\n');
        self.send_raw(&whole);
    }

    /// Sends bytes as they are; their newlines are counted as lines.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.sent += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.stream.write_all(bytes).unwrap();
    }

    /// Waits until every line sent so far is settled.
    pub fn settle(&mut self) {
        self.settle_up_to(self.sent);
    }

    pub fn settle_up_to(&mut self, lines: u64) {
        while self.settled < lines {
            if self.read() == Answer::End {
                panic!(
                    "the server closed the socket with {} of {lines} lines settled",
                    self.settled
                );
            }
        }
    }

    /// Reads one line of the server.
    pub fn read(&mut self) -> Answer {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => return Answer::End,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return Answer::End;
            }
            Err(error) => panic!(
                "no answer on the ingest socket ({} of {} settled): {error}",
                self.settled, self.sent
            ),
        }
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.take(answer)
    }

    /// Sends a `ctl` command and gives its result.
    pub fn command(&mut self, command: &Value) -> Value {
        self.send_line(command.to_string().as_bytes());
        self.settle();
        match self.results.pop() {
            Some(result) => result,
            None => panic!("{command} gave no result: {:?}", self.refusals),
        }
    }

    /// The newest result that no `command` has taken.
    pub fn result(&mut self) -> Value {
        self.results.pop().expect("a result has come")
    }

    /// The next copy of an event, for one who taps.
    pub fn copy(&mut self) -> Value {
        while self.copies.is_empty() {
            assert_eq!(self.read(), Answer::Copy);
        }
        self.copies.remove(0)
    }

    /// No more lines follow; answers can still be read.
    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads until the server closes its side.
    pub fn read_to_end(&mut self) {
        while self.read() != Answer::End {}
    }

    pub fn settled(&self) -> u64 {
        self.settled
    }

    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Whether the newest ack says that its event was delivered on one host alone.
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// The refusals that no `try_emit` has taken, oldest first.
    pub fn refusals(&self) -> &[Refused] {
        &self.refusals
    }

    /// A second handle on the same connection, for a thread that only writes.
    pub fn writer(&self) -> UnixStream {
        self.stream.try_clone().unwrap()
    }

    /// Counts lines that a thread wrote through `writer`.
    pub fn count_sent(&mut self, lines: u64) {
        self.sent += lines;
    }

    fn take(&mut self, answer: Value) -> Answer {
        if let Some(settled) = answer.get("ack") {
            let settled = settled.as_u64().unwrap();
            assert!(
                settled > self.settled,
                "acks grow: {} after {}",
                settled,
                self.settled
            );
            self.settled = settled;
            self.is_local = answer.get("local").is_some_and(|local| local == true);
            let id = answer
                .get("id")
                .map(|id| id.as_str().expect("an id is a string").to_owned());
            if id.is_some() {
                self.last_id.clone_from(&id);
            } else {
                assert_eq!(
                    self.last_id, None,
                    "an ack without id after one with: {answer}"
                );
            }
            return Answer::Ack;
        }
        if let Some(error) = answer.get("error") {
            let refused = Refused {
                line: error["line"].as_u64().unwrap(),
                code: error["code"].as_str().unwrap().to_owned(),
                field: error
                    .get("field")
                    .map(|field| field.as_str().unwrap().to_owned()),
                message: error["message"].as_str().unwrap().to_owned(),
            };
            assert!(
                refused.line > self.settled,
                "an error after the ack that covers it: {refused:?}"
            );
            assert!(
                refused.message.len() >= 10,
                "the error should say what was wrong: {refused:?}"
            );
            if let Some(before) = self.refusals.last() {
                assert!(
                    before.line < refused.line,
                    "errors in the order of lines: {before:?}, {refused:?}"
                );
            }
            self.refusals.push(refused);
            return Answer::Refused;
        }
        if answer.get("event").is_some() {
            self.copies.push(answer);
            return Answer::Copy;
        }
        let result = answer
            .get("result")
            .unwrap_or_else(|| panic!("neither ack, error, copy nor result: {answer}"));
        self.results.push(result.clone());
        Answer::Result
    }
}
