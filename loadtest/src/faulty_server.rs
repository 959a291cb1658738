//! A small server for tests that does what shopwire does, or one thing wrong on purpose, and the
//! tests that the whole load test tells the difference: one delivery in a million that is dropped,
//! repeated, swapped with its neighbour or sent to the wrong connection, one in a thousand that is
//! late.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::accounting::Faults;
use crate::client::connection::ACCEPT;
use crate::client::frames::{self, put_server_frame};
use crate::console::Console;
use crate::report::Report;
use crate::run::plan::{Drive, Load, Plan};
use crate::run::{Measured, run};
use crate::server::Target;
use crate::world::orders::number_prefix;
use crate::world::{NUMBER_DIGITS, read_number};

/// What goes wrong, with one event on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Drop,
    Repeat,
    Swap,
    /// One byte of the number differs: an event that this connection is never sent.
    Corrupt,
    /// The number is right, but not the rest.
    Alter,
    Close,
    Refuse,
    Delay(Duration),
}

/// The event and the connection it happens to.
#[derive(Debug, Clone, Copy)]
struct Place {
    event: u32,
    connection: usize,
}

fn scheduled(connections: u32, rate: f64, seconds: f64) -> Plan {
    Plan {
        scenario: "test",
        connections,
        under_way: 8,
        load: Load::Shared(250),
        drive: Drive::Scheduled(rate),
        warm_up: 0.0,
        seconds,
        grace: Duration::from_secs(2),
        replaced_per_s: 0.0,
        stalled_nth: None,
        expectations: Vec::new(),
    }
}

/// Runs `plan` against a server with `fault`.
fn outcome(plan: &Plan, fault: Fault, place: Place) -> (Measured, Report) {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("ingest.sock");
    let emitters = UnixListener::bind(&socket).unwrap();
    let browsers = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/api/ws", browsers.local_addr().unwrap());
    let connections = plan.connections;
    let server = thread::spawn(move || serve(&browsers, &emitters, connections, fault, place));
    let target = Target::new(&url, socket, b"a secret of thirty-two bytes ....".to_vec()).unwrap();
    let measured = run(&target, plan, &Console::new(true)).unwrap();
    server.join().unwrap();
    let report = Report::new("faulty", "test".into(), plan, &measured);
    (measured, report)
}

fn serve(
    browsers: &TcpListener,
    emitters: &UnixListener,
    connections: u32,
    fault: Fault,
    place: Place,
) {
    let mut clients: Vec<TcpStream> = (0..connections)
        .map(|_| welcome(browsers.accept().unwrap().0))
        .collect();
    let (emitter, _) = emitters.accept().unwrap();
    relay(emitter, &mut clients, fault, place);
    // The client hangs up once it has seen enough.
    for mut client in clients {
        client
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        client.read_to_end(&mut Vec::new()).unwrap_or_default();
    }
}

/// A connection from its handshake to its subscription, as the contract has it.
fn welcome(mut client: TcpStream) -> TcpStream {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    assert!(request.starts_with(b"GET /api/ws HTTP/1.1\r\n"));
    let mut out = format!("HTTP/1.1 101 Go\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n").into_bytes();
    put_server_frame(frames::TEXT, br#"{"type":"welcome","data":{}}"#, &mut out);
    client.write_all(&out).unwrap();
    assert!(read_message(&mut client).contains(r#""type":"auth","data":{"token":"ey"#));
    // A ping must be answered, and the subscription come in two pieces.
    out.clear();
    put_server_frame(frames::PING, b"alive?", &mut out);
    put_server_frame(frames::TEXT, br#"{"type":"authenticated"}"#, &mut out);
    client.write_all(&out).unwrap();
    let mut pong = [0; 12];
    client.read_exact(&mut pong).unwrap();
    assert_eq!(pong[..2], [0x8A, 0x86]);
    assert!(read_message(&mut client).contains("subscribe"));
    out.clear();
    let subscribed = br#"{"type":"subscribed","data":{}}"#;
    put_server_frame(frames::TEXT, subscribed, &mut out);
    client.set_nodelay(true).unwrap();
    client.write_all(&out[..7]).unwrap();
    client.write_all(&out[7..]).unwrap();
    client
}

/// Reads a text frame of the client's, whose mask is zero.
fn read_message(client: &mut TcpStream) -> String {
    let mut head = [0; 2];
    client.read_exact(&mut head).unwrap();
    let length = match head[1] & 0x7F {
        126 => {
            let mut long = [0; 2];
            client.read_exact(&mut long).unwrap();
            u16::from_be_bytes(long).into()
        }
        short => usize::from(short),
    };
    let mut rest = vec![0; 4 + length];
    client.read_exact(&mut rest).unwrap();
    String::from_utf8(rest.split_off(4)).unwrap()
}

/// Sends each chunk of lines to every client in one write, but for what goes wrong.
fn relay(mut emitter: UnixStream, clients: &mut [TcpStream], fault: Fault, place: Place) {
    let mut chunk = vec![0; 256 * 1024];
    let mut held = Vec::new();
    let mut late = None;
    let mut settled = 0;
    loop {
        let length = emitter.read(&mut chunk).unwrap();
        if length == 0 {
            return;
        }
        held.extend_from_slice(&chunk[..length]);
        let whole = held
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        let lines: Vec<u8> = held.drain(..whole).collect();
        let lines: Vec<&[u8]> = lines
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .collect();
        let usual = frames_of(lines.iter().copied());
        let is_here = lines.iter().any(|line| number_of(line) == place.event);
        for (index, client) in clients.iter_mut().enumerate() {
            // A client that was told to go may be gone.
            if index == place.connection && !lines.is_empty() && (is_here || late.is_some()) {
                let bytes = wrong_frames(&lines, fault, place, &mut late);
                client.write_all(&bytes).unwrap_or_default();
            } else {
                client.write_all(&usual).unwrap_or_default();
            }
        }
        settled += lines.len();
        let mut answer = format!("{{\"ack\":{settled},\"id\":\"x\"}}\n");
        if fault == Fault::Refuse && is_here {
            answer.insert_str(0, "{\"error\":{\"line\":6,\"code\":\"invalid_payload\"}}\n");
        }
        emitter.write_all(answer.as_bytes()).unwrap();
    }
}

/// The frames of a chunk with the fault among them. `late` is an event that comes one place later,
/// across chunks if need be.
fn wrong_frames(
    lines: &[&[u8]],
    fault: Fault,
    place: Place,
    late: &mut Option<Vec<u8>>,
) -> Vec<u8> {
    let mut wrong: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
    if let Some(late) = late.take() {
        wrong.insert(1, late);
    } else if let Some(at) = lines.iter().position(|line| number_of(line) == place.event) {
        match fault {
            Fault::None | Fault::Refuse | Fault::Close => {}
            Fault::Drop => drop(wrong.remove(at)),
            Fault::Repeat => wrong.insert(at, lines[at].to_vec()),
            Fault::Swap if at + 1 < wrong.len() => wrong.swap(at, at + 1),
            Fault::Swap => *late = wrong.pop(),
            Fault::Corrupt => {
                let digits = number_at(lines[at]);
                wrong[at][digits] = b'4';
            }
            Fault::Alter => {
                let text = String::from_utf8(wrong[at].clone()).unwrap();
                wrong[at] = text.replace("129.95", "129.96").into_bytes();
            }
            Fault::Delay(delay) => thread::sleep(delay),
        }
    }
    let mut bytes = frames_of(wrong.iter().map(Vec::as_slice));
    if fault == Fault::Close {
        put_server_frame(frames::CLOSE, b"\x11\x3Dslow", &mut bytes);
    }
    bytes
}

fn frames_of<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    lines.for_each(|line| put_server_frame(frames::TEXT, line, &mut bytes));
    bytes
}

/// Where an event's number begins: behind the run's name, which has eight digits.
fn number_at(line: &[u8]) -> usize {
    let field = number_prefix("01234567");
    let start = memchr::memmem::find(line, &field.as_bytes()[..7]).unwrap();
    start + field.len()
}

fn number_of(line: &[u8]) -> u32 {
    let at = number_at(line);
    read_number(line[at..at + NUMBER_DIGITS].try_into().unwrap()).unwrap()
}

const SOMEWHERE: Place = Place {
    event: 5,
    connection: 1,
};

#[test]
fn a_sound_server_passes() {
    let plan = scheduled(3, 100.0, 0.2);
    let (measured, report) = outcome(&plan, Fault::None, SOMEWHERE);
    assert!(report.has_passed(), "{:?}", report.verdicts);
    assert_eq!(measured.received, 3 * 20);
    assert_eq!(measured.latency.len(), measured.received);
    assert_eq!(measured.sent.settled, 20);
}

/// A million deliveries, one of them wrong.
#[test]
fn one_wrong_delivery_in_a_million_fails_and_is_named() {
    let plan = Plan {
        grace: Duration::from_secs(60),
        ..scheduled(100, 10_050.0, 1.0)
    };
    let place = Place {
        event: 6_000,
        connection: 37,
    };
    let clean = Faults::default();
    let cases = [
        (Fault::None, clean),
        (Fault::Drop, Faults { lost: 1, ..clean }),
        (
            Fault::Repeat,
            Faults {
                repeated: 1,
                ..clean
            },
        ),
        (
            Fault::Swap,
            Faults {
                disordered: 1,
                ..clean
            },
        ),
        (
            Fault::Corrupt,
            Faults {
                lost: 1,
                misdirected: 1,
                ..clean
            },
        ),
    ];
    for (fault, expected) in cases {
        let (measured, report) = outcome(&plan, fault, place);
        assert!(measured.received >= 1_000_000, "{}", measured.received);
        assert_eq!(measured.faults, expected, "{fault:?}");
        assert_eq!(report.has_passed(), fault == Fault::None, "{fault:?}");
    }
}

#[test]
fn a_connection_that_is_closed_fails_and_so_does_what_it_missed() {
    let plan = scheduled(3, 100.0, 0.2);
    let (measured, report) = outcome(&plan, Fault::Close, SOMEWHERE);
    assert!(!report.has_passed());
    let endings: Vec<_> = measured.ended.iter().collect();
    assert!(
        matches!(&endings[..], [(reason, 1)] if reason.contains("4413 slow")),
        "{endings:?}"
    );
    assert!(measured.faults.lost > 0);
}

#[test]
fn an_event_that_says_something_else_fails() {
    let plan = scheduled(3, 100.0, 0.2);
    // One of those whose content is looked at.
    let place = Place {
        event: 0,
        connection: 0,
    };
    let (measured, report) = outcome(&plan, Fault::Alter, place);
    assert_eq!(measured.faults.altered, 1);
    assert!(!report.has_passed());
}

#[test]
fn a_refused_event_fails() {
    let plan = scheduled(3, 100.0, 0.2);
    let (measured, report) = outcome(&plan, Fault::Refuse, SOMEWHERE);
    assert!(!report.has_passed());
    assert_eq!(measured.sent.refused, 1);
    let refusal = measured.sent.first_refusal.unwrap();
    assert!(refusal.contains("invalid_payload"));
}

/// A thousand deliveries, one of them late, and with it those that waited behind it: a client that
/// only timed the way from sending to reading would have seen a single slow one.
#[test]
fn one_late_delivery_in_a_thousand_shows() {
    const DELAY: Duration = Duration::from_millis(400);
    let mut plan = scheduled(10, 100.0, 1.0);
    plan.expectations = vec!["latency-max-ms<300".parse().unwrap()];
    let place = Place {
        event: 50,
        connection: 3,
    };
    let (measured, report) = outcome(&plan, Fault::Delay(DELAY), place);
    assert_eq!(
        (measured.received, measured.faults),
        (1000, Faults::default())
    );
    assert!(!report.has_passed());
    assert!(report.figures["latency-max-ms"] >= 395.0);
    assert!(report.figures["latency-p999-ms"] >= 395.0);
    // Events 51 to 80 were due while the server slept.
    let waited = measured.latency.count_between(100_000, 600_000_000);
    assert!(waited >= 200, "{waited}");
}
