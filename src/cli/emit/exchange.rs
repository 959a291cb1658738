//! Lines out, answers in: until all is settled, or the connection ends.
//!
//! One thread writes what it reads, the other reads answers: a server that pushes back holds up the
//! input, never the answers, and memory stays one buffer however long the input is.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::cli::answers::{Answer, Answers, Next};

const BUFFER_BYTES: usize = 64 * 1024;

/// How often the end of the input is looked for while no answer comes.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How an exchange went.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Lines sent, ...
    pub(super) sent: u64,
    /// ... those of them that the server has settled, ...
    pub(super) settled: u64,
    /// ... and those that it refused.
    pub(super) refused: u64,
    blank: u64,
    /// The id of the newest event.
    pub(super) newest_id: Option<String>,
    /// The connection ended before everything was settled.
    pub(super) broken: bool,
    /// Why the input could not be read to its end.
    pub(super) input_error: Option<io::Error>,
}

impl Outcome {
    /// Lines that became events, or were repeats of one by key.
    pub(super) fn accepted(&self) -> u64 {
        self.settled.saturating_sub(self.refused + self.blank)
    }
}

/// What the writing thread has done so far.
#[derive(Default)]
struct Sent {
    lines: AtomicU64,
    blank: AtomicU64,
    ended: AtomicBool,
}

/// Sends `input` line by line and reads answers until all of it is settled or the connection ends.
/// `refusal` is told each refused line.
///
/// # Errors
/// If the socket cannot be used.
pub(super) fn exchange(
    input: impl Read + Send + 'static,
    socket: UnixStream,
    mut refusal: impl FnMut(u64, &dyn std::fmt::Display),
) -> io::Result<Outcome> {
    socket.set_read_timeout(Some(LOOK_EVERY))?;
    let mut answers = Answers::new(socket.try_clone()?);
    let sent = Arc::new(Sent::default());
    let writer = thread::spawn({
        let sent = Arc::clone(&sent);
        move || {
            let result = send(input, socket, &sent);
            sent.ended.store(true, Ordering::Release);
            result
        }
    });

    let mut outcome = Outcome::default();
    loop {
        // Read before the count: a line counted later is not expected yet.
        let ended = sent.ended.load(Ordering::Acquire);
        outcome.sent = sent.lines.load(Ordering::Acquire);
        if ended && outcome.settled >= outcome.sent {
            break;
        }
        match answers.next()? {
            Next::Answer(Answer::Ack { ack, id }) => {
                outcome.settled = ack;
                outcome.newest_id = id.or(outcome.newest_id);
            }
            Next::Answer(Answer::Error { error }) => {
                outcome.refused += 1;
                refusal(error.line, &error);
            }
            Next::Answer(Answer::Result { .. } | Answer::Copy(_)) | Next::Nothing => {}
            Next::End => {
                outcome.sent = sent.lines.load(Ordering::Acquire);
                outcome.broken =
                    !sent.ended.load(Ordering::Acquire) || outcome.settled < outcome.sent;
                break;
            }
        }
    }
    outcome.blank = sent.blank.load(Ordering::Acquire);
    // A writer that waits for more input is left behind: it ends with the process. One that has said
    // it is done waits for nothing any more.
    if sent.ended.load(Ordering::Acquire) {
        match writer.join().expect("the writing thread does not panic") {
            Ok(()) => {}
            Err(SendError::Input(error)) => outcome.input_error = Some(error),
            Err(SendError::Socket) => outcome.broken = true,
        }
    }
    Ok(outcome)
}

enum SendError {
    Input(io::Error),
    /// The server's side is gone; what it still said is with the reader.
    Socket,
}

fn send(mut input: impl Read, mut socket: UnixStream, sent: &Sent) -> Result<(), SendError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut line = LineState::default();
    let result = loop {
        let chunk = match input.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(n) => &buffer[..n],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => break Err(SendError::Input(error)),
        };
        // Counted before they go out, so that no ack is ever ahead of the count.
        line.count(chunk, sent);
        if socket.write_all(chunk).is_err() {
            return Err(SendError::Socket);
        }
    };
    // A last line without its newline gets one: cut off or whole, the server then judges it. An input
    // that broke off is different, its last line is not what was meant.
    if line.open && result.is_ok() {
        line.count(b"\n", sent);
        if socket.write_all(b"\n").is_err() {
            return Err(SendError::Socket);
        }
    }
    // Known before the server can see the end and close: the reader must not take that for a break.
    sent.ended.store(true, Ordering::Release);
    // The server may be gone already; the reader sees that.
    socket.shutdown(Shutdown::Write).ok();
    result
}

/// Where in a line the input stands.
#[derive(Default)]
struct LineState {
    open: bool,
    has_text: bool,
}

impl LineState {
    fn count(&mut self, chunk: &[u8], sent: &Sent) {
        let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r');
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            let has_text = self.has_text || chunk[start..end].iter().any(is_text);
            sent.blank
                .fetch_add(u64::from(!has_text), Ordering::Release);
            sent.lines.fetch_add(1, Ordering::Release);
            *self = LineState::default();
            start = end + 1;
        }
        let rest = &chunk[start..];
        self.open |= !rest.is_empty();
        self.has_text = self.has_text || rest.iter().any(is_text);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{BufRead, BufReader, Cursor};
    use std::thread::JoinHandle;

    use super::*;

    /// A server that answers each line by `answer`, and stops reading for good where that is `None`.
    fn server(
        answer: impl Fn(u64, &str) -> Option<String> + Send + 'static,
    ) -> (UnixStream, JoinHandle<Vec<String>>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let thread = thread::spawn(move || {
            let mut lines = Vec::new();
            for line in BufReader::new(ours.try_clone().unwrap()).lines() {
                lines.push(line.unwrap());
                match answer(lines.len() as u64, &lines[lines.len() - 1]) {
                    Some(text) => (&ours).write_all(text.as_bytes()).unwrap(),
                    None => break,
                }
            }
            lines
        });
        (theirs, thread)
    }

    fn ack(line: u64, _: &str) -> Option<String> {
        Some(format!("{{\"ack\":{line},\"id\":\"e-{line}\"}}\n"))
    }

    fn exchanged(input: &str, socket: UnixStream) -> (Outcome, Vec<(u64, String)>) {
        let mut refusals = Vec::new();
        let input = Cursor::new(input.to_owned().into_bytes());
        let outcome = exchange(input, socket, |line, why| {
            refusals.push((line, why.to_string()))
        });
        (outcome.unwrap(), refusals)
    }

    #[test]
    fn all_lines_are_settled_and_a_last_newline_is_added() {
        let (socket, server) = server(ack);
        let (outcome, refusals) = exchanged("{\"a\":1}\n \r\n{\"b\":2}", socket);
        assert_eq!(
            (outcome.sent, outcome.settled, outcome.accepted()),
            (3, 3, 2)
        );
        assert_eq!(outcome.newest_id.as_deref(), Some("e-3"));
        assert!(!outcome.broken && refusals.is_empty());
        assert_eq!(server.join().unwrap(), ["{\"a\":1}", " ", "{\"b\":2}"]);
    }

    #[test]
    fn an_empty_input_is_settled_at_once() {
        let (socket, _server) = server(ack);
        let (outcome, _) = exchanged("", socket);
        assert_eq!(
            (outcome.sent, outcome.accepted(), outcome.broken),
            (0, 0, false)
        );
    }

    #[test]
    fn refusals_are_told_by_line() {
        let (socket, _server) = server(|line, text| {
            let error = format!(
                "{{\"error\":{{\"line\":{line},\"code\":\"unknown_type\",\"message\":\"no\"}}}}\n"
            );
            let error = if text == "bad" { error } else { String::new() };
            Some(error + &ack(line, text)?)
        });
        let (outcome, refusals) = exchanged("good\nbad\ngood\n", socket);
        assert_eq!(refusals, [(2, "unknown_type: no".to_owned())]);
        assert_eq!(
            (outcome.accepted(), outcome.refused, outcome.broken),
            (2, 1, false)
        );
    }

    #[test]
    fn a_server_that_goes_away_leaves_lines_unsettled() {
        let (socket, _server) = server(|line, text| if line < 3 { ack(line, text) } else { None });
        let (outcome, _) = exchanged("1\n2\n3\n4\n", socket);
        assert!(outcome.broken);
        assert_eq!((outcome.sent, outcome.settled), (4, 2));
    }

    #[test]
    fn a_server_that_goes_away_ends_the_wait_for_input() {
        struct Never;
        impl Read for Never {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                loop {
                    thread::park();
                }
            }
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(ours);
        let outcome = exchange(Never, theirs, |_, _| {}).unwrap();
        assert!(outcome.broken);
    }

    #[test]
    fn a_server_that_answers_late_and_much_never_deadlocks() {
        const LINES: usize = 50_000;
        let (socket, _server) = server(|line, text| {
            let error = format!(
                "{{\"error\":{{\"line\":{line},\"code\":\"x\",\"message\":\"{text}\"}}}}\n"
            );
            Some(error + &ack(line, text)?)
        });
        let (outcome, refusals) = exchanged(&format!("{}\n", "x".repeat(99)).repeat(LINES), socket);
        assert_eq!((outcome.settled, refusals.len()), (LINES as u64, LINES));
    }

    #[test]
    fn input_that_breaks_off_is_told() {
        struct Broken(bool);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(io::Error::other("gone"));
                }
                buffer[..6].copy_from_slice(b"a\nhalf");
                Ok(6)
            }
        }
        let (socket, server) = server(|line, text| {
            if text == "a" {
                ack(line, text)
            } else {
                Some(String::new())
            }
        });
        let outcome = exchange(Broken(false), socket, |_, _| {}).unwrap();
        assert!(outcome.input_error.is_some());
        assert_eq!((outcome.sent, outcome.settled), (1, 1));
        assert_eq!(server.join().unwrap(), ["a", "half"]);
    }
}
