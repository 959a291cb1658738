//! `shopwire emit`: sends events over the ingest socket and waits until they are settled.
//!
//! One thread writes what it reads, the other reads answers: a server that pushes back holds up the
//! input, never the answers, and memory stays one buffer however long the input is.

use std::io::{self, Cursor, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::answers::{Answer, Answers, Next};
use super::{FAILED, WRONG_USAGE, demo, fail, unreachable_socket};
use crate::config;

const BUFFER_BYTES: usize = 64 * 1024;

/// How often the end of the input is looked for while no answer comes.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Send an event, or a stream of them from stdin
#[derive(clap::Args)]
#[command(
    after_help = "With - the input is NDJSON: one {\"type\":…,\"data\":{…}} a line, with to, timestamp and key as wanted. \
    Prints the id of a single event; refusals go to stderr with their line. Exits with 1 if any was refused.\n\
    With --demo a small invented shop is played, for trying out, until it is interrupted.\n\n\
    Examples:\n  \
    shopwire emit product:deleted --data '{\"productId\":\"p-1\"}'\n  \
    shopwire emit system:notification --data '{\"title\":\"Hi\",\"message\":\"Stocktaking at six\",\"severity\":\"info\"}' --to-roles admin,staff\n  \
    shopwire emit - < events.ndjson\n  \
    shopwire emit --demo --demo-rate 5"
)]
pub(super) struct Arguments {
    /// The event's type, like order:created; or - for NDJSON from stdin
    #[arg(value_name = "TYPE", required_unless_present = "demo")]
    kind: Option<String>,
    /// The event's data, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    data: String,
    /// Only to these roles
    #[arg(long, value_name = "ROLES", value_delimiter = ',')]
    to_roles: Option<Vec<String>>,
    /// Only to these users
    #[arg(long, value_name = "USERS", value_delimiter = ',')]
    to_users: Option<Vec<String>>,
    /// These users own the event
    #[arg(long, value_name = "USERS", value_delimiter = ',')]
    to_owners: Option<Vec<String>>,
    /// Not to these users
    #[arg(long, value_name = "USERS", value_delimiter = ',')]
    exclude_users: Option<Vec<String>>,
    /// Not to this session
    #[arg(long, value_name = "SESSION")]
    exclude_session: Option<String>,
    /// The same key again within 10 minutes is not sent again
    #[arg(long)]
    key: Option<String>,
    /// The server's ingest socket [env: WS_SOCKET] [default: as for serve]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    demo: demo::Arguments,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.demo.demo {
        return demo::run(&arguments.demo, arguments.socket.as_deref());
    }
    let line = match line(arguments) {
        Ok(line) => line,
        Err(sentence) => return fail(WRONG_USAGE, sentence),
    };
    let path = config::socket_to_talk_to(arguments.socket.as_deref());
    let socket = match UnixStream::connect(&path) {
        Ok(socket) => socket,
        Err(error) => return fail(FAILED, unreachable_socket(&path, &error)),
    };
    let single = line.is_some();
    let outcome = match line {
        Some(line) => exchange(Cursor::new(line), socket, |_, why| {
            eprintln!("shopwire: {why}")
        }),
        None => exchange(io::stdin(), socket, |line, why| {
            eprintln!("line {line}: {why}")
        }),
    };
    match outcome {
        Ok(outcome) => report(&outcome, single),
        Err(error) => fail(FAILED, error),
    }
}

fn report(outcome: &Outcome, single: bool) -> ExitCode {
    let unsettled = outcome.sent - outcome.settled;
    if !single {
        eprintln!(
            "accepted {}, refused {}",
            outcome.accepted(),
            outcome.refused
        );
    } else if let Some(id) = outcome.newest_id.as_ref().filter(|_| outcome.refused == 0)
        && let Err(error) = writeln!(io::stdout(), "{id}")
    {
        return fail(
            FAILED,
            format!("the event {id} was accepted, but stdout: {error}"),
        );
    }
    if let Some(error) = &outcome.input_error {
        return fail(FAILED, format!("stdin cannot be read on: {error}"));
    }
    if outcome.broken {
        return fail(
            FAILED,
            format!(
                "the server closed the connection: {unsettled} {} sent and not known to be settled, \
                 the input after them was not sent",
                if unsettled == 1 {
                    "line was"
                } else {
                    "lines were"
                }
            ),
        );
    }
    if outcome.refused > 0 {
        ExitCode::from(FAILED)
    } else {
        ExitCode::SUCCESS
    }
}

/// The line of a single event; `None` for a stream from stdin.
fn line(arguments: &Arguments) -> Result<Option<Vec<u8>>, String> {
    let to = target(arguments);
    let kind = arguments.kind.as_deref();
    let kind = kind.expect("clap asks for a type where there is no --demo");
    if kind == "-" {
        if arguments.data != "{}" || !to.is_empty() || arguments.key.is_some() {
            return Err(
                "with - every line says its own data, to and key: leave those flags out".into(),
            );
        }
        return Ok(None);
    }
    serde_json::from_str::<IgnoredAny>(&arguments.data)
        .map_err(|error| format!("--data is not JSON: {error}"))?;
    // The data goes out as it was typed, so that its numbers do; only line ends, which in JSON stand
    // between tokens alone, would cut the line.
    let data = arguments.data.replace(['\n', '\r'], " ");
    let mut line = format!("{{\"type\":{},\"data\":{data}", Value::from(kind));
    if !to.is_empty() {
        line += &format!(",\"to\":{}", Value::Object(to));
    }
    if let Some(key) = &arguments.key {
        line += &format!(",\"key\":{}", Value::from(key.as_str()));
    }
    line.push('}');
    Ok(Some(line.into_bytes()))
}

fn target(arguments: &Arguments) -> Map<String, Value> {
    let lists = [
        ("roles", &arguments.to_roles),
        ("userIds", &arguments.to_users),
        ("owners", &arguments.to_owners),
        ("excludeUserIds", &arguments.exclude_users),
    ];
    let mut to = Map::new();
    for (name, list) in lists {
        if let Some(list) = list {
            to.insert(name.into(), list.clone().into());
        }
    }
    if let Some(session) = &arguments.exclude_session {
        to.insert("excludeSessionId".into(), session.as_str().into());
    }
    to
}

/// How an exchange went.
#[derive(Debug, Default)]
struct Outcome {
    sent: u64,
    settled: u64,
    refused: u64,
    blank: u64,
    newest_id: Option<String>,
    /// The connection ended before everything was settled.
    broken: bool,
    input_error: Option<io::Error>,
}

impl Outcome {
    /// Lines that became events, or were repeats of one by key.
    fn accepted(&self) -> u64 {
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
fn exchange(
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
            Next::Answer(Answer::Result { .. }) | Next::Nothing => {}
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

    use std::io::{BufRead, BufReader};
    use std::thread::JoinHandle;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Emit {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn line_of(arguments: &[&str]) -> Result<Option<String>, String> {
        let words = ["emit"].iter().chain(arguments);
        let line = line(
            &Emit::try_parse_from(words)
                .map_err(|e| e.to_string())?
                .arguments,
        )?;
        Ok(line.map(|line| String::from_utf8(line).unwrap()))
    }

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
    fn flags_become_one_line() {
        let line = line_of(&[
            "a:b",
            "--data",
            "{\"n\":1e2,\n\"m\":12345678901234567890123}",
        ])
        .unwrap();
        assert_eq!(
            line.unwrap(),
            r#"{"type":"a:b","data":{"n":1e2, "m":12345678901234567890123}}"#
        );
        let line = line_of(&[
            "a:b",
            "--to-roles",
            "admin,staff",
            "--to-users",
            "u",
            "--to-owners",
            "o",
            "--exclude-users",
            "x,y",
            "--exclude-session",
            "s",
            "--key",
            "k\"",
        ]);
        let value: Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
        let to = serde_json::json!({"roles": ["admin", "staff"], "userIds": ["u"], "owners": ["o"],
            "excludeUserIds": ["x", "y"], "excludeSessionId": "s"});
        assert_eq!(
            value,
            serde_json::json!({"type": "a:b", "data": {}, "to": to, "key": "k\""})
        );
    }

    #[test]
    fn an_empty_list_stays_a_list_that_the_server_refuses() {
        let line = line_of(&["a:b", "--to-users", ""]).unwrap().unwrap();
        assert!(
            line.contains("userIds"),
            "a typo must not become a broadcast: {line}"
        );
    }

    #[test]
    fn wrong_usage_is_told() {
        assert!(
            line_of(&["a:b", "--data", "{"])
                .unwrap_err()
                .contains("--data")
        );
        assert!(
            line_of(&["-", "--key", "k"])
                .unwrap_err()
                .contains("leave those flags out")
        );
        assert!(line_of(&[]).unwrap_err().contains("TYPE"));
        assert_eq!(line_of(&["-"]).unwrap(), None);
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
