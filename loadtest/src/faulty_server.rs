//! A small server for tests that does what shopwire does, or one thing wrong on purpose, and the
//! tests that the whole client tells the difference.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::accounting::Faults;
use crate::connection::ACCEPT;
use crate::frames::{self, put_server_frame};
use crate::report::{self, Outcome};
use crate::seed::{Plan, run};
use crate::server_process::Target;

/// What goes wrong, with event 5 of 20 on connection 1 of 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Drop,
    Repeat,
    Swap,
    Close,
    Refuse,
    Delay,
}

const CONNECTIONS: u32 = 3;
const EVENTS: usize = 20;

fn outcome(fault: Fault) -> Outcome {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("ingest.sock");
    let emitters = UnixListener::bind(&socket).unwrap();
    let browsers = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/api/ws", browsers.local_addr().unwrap());
    let server = thread::spawn(move || serve(&browsers, &emitters, fault));
    let target = Target::new(&url, socket, b"a secret of thirty-two bytes ....".to_vec()).unwrap();
    let plan = Plan {
        connections: CONNECTIONS,
        rate: 100.0,
        seconds: EVENTS as f64 / 100.0,
        grace: Duration::from_secs(1),
    };
    let outcome = run(&target, plan).unwrap();
    server.join().unwrap();
    outcome
}

fn serve(browsers: &TcpListener, emitters: &UnixListener, fault: Fault) {
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(welcome(browsers.accept().unwrap().0));
    }
    let (emitter, _) = emitters.accept().unwrap();
    relay(&emitter, &mut clients, fault);
    // The client hangs up once it has seen enough.
    for mut client in clients {
        client
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        client.read_to_end(&mut Vec::new()).unwrap_or_default();
    }
}

fn welcome(mut client: TcpStream) -> TcpStream {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    assert!(
        String::from_utf8(request)
            .unwrap()
            .contains("shopwire.v1, token.ey")
    );
    let mut out = format!("HTTP/1.1 101 Go\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n").into_bytes();
    put_server_frame(frames::TEXT, br#"{"type":"welcome","data":{}}"#, &mut out);
    client.write_all(&out).unwrap();
    let mut head = [0; 6];
    client.read_exact(&mut head).unwrap();
    let mut message = vec![0; usize::from(head[1] & 0x7F)];
    client.read_exact(&mut message).unwrap();
    assert!(String::from_utf8(message).unwrap().contains("subscribe"));
    // A ping must be answered, and the subscription come in two pieces.
    let mut out = Vec::new();
    put_server_frame(frames::PING, b"alive?", &mut out);
    client.write_all(&out).unwrap();
    let mut pong = [0; 12];
    client.read_exact(&mut pong).unwrap();
    assert_eq!(pong[..2], [0x8A, 0x86]);
    out.clear();
    put_server_frame(
        frames::TEXT,
        br#"{"type":"subscribed","data":{}}"#,
        &mut out,
    );
    client.set_nodelay(true).unwrap();
    client.write_all(&out[..7]).unwrap();
    client.write_all(&out[7..]).unwrap();
    client
}

fn relay(emitter: &UnixStream, clients: &mut [TcpStream], fault: Fault) {
    let mut withheld: Option<Vec<u8>> = None;
    for (number, line) in BufReader::new(emitter).lines().enumerate() {
        let mut frame = Vec::new();
        put_server_frame(frames::TEXT, line.unwrap().as_bytes(), &mut frame);
        for (index, client) in clients.iter_mut().enumerate() {
            let mut bytes = frame.clone();
            if (index, number) == (1, 5) {
                match fault {
                    Fault::None | Fault::Refuse => {}
                    Fault::Drop => bytes.clear(),
                    Fault::Repeat => bytes.extend_from_slice(&frame),
                    Fault::Swap => withheld = Some(std::mem::take(&mut bytes)),
                    Fault::Close => {
                        put_server_frame(frames::CLOSE, b"\x11\x3Dslow", &mut bytes);
                    }
                    Fault::Delay => thread::sleep(Duration::from_millis(60)),
                }
            } else if (index, number) == (1, 6)
                && let Some(late) = withheld.take()
            {
                bytes.extend_from_slice(&late);
            }
            // A client that was told to go may be gone.
            client.write_all(&bytes).unwrap_or_default();
        }
        let mut answer = format!("{{\"ack\":{},\"id\":\"x\"}}\n", number + 1);
        if fault == Fault::Refuse && number == 5 {
            answer.insert_str(0, "{\"error\":{\"line\":6,\"code\":\"invalid_payload\"}}\n");
        }
        (&*emitter).write_all(answer.as_bytes()).unwrap();
    }
}

#[test]
fn a_sound_server_passes() {
    let outcome = outcome(Fault::None);
    assert!(outcome.has_passed(), "{outcome:?}");
    assert_eq!(outcome.received, u64::from(CONNECTIONS) * EVENTS as u64);
    assert_eq!(outcome.latency.len(), outcome.received);
    assert_eq!(outcome.sent.settled, EVENTS as u32);
    let mut text = Vec::new();
    report::write(&outcome, &mut text).unwrap();
    assert!(String::from_utf8(text).unwrap().ends_with("PASS\n"));
}

#[test]
fn a_single_fault_fails_and_is_named() {
    let cases = [
        (
            Fault::Drop,
            Faults {
                lost: 1,
                ..Faults::default()
            },
        ),
        (
            Fault::Repeat,
            Faults {
                repeated: 1,
                ..Faults::default()
            },
        ),
        (
            Fault::Swap,
            Faults {
                disordered: 1,
                ..Faults::default()
            },
        ),
        (
            Fault::Close,
            Faults {
                lost: 14,
                ..Faults::default()
            },
        ),
    ];
    let check = |(fault, expected): (Fault, Faults)| {
        let outcome = outcome(fault);
        assert!(!outcome.has_passed(), "{fault:?}");
        assert_eq!(outcome.faults, expected, "{fault:?}");
        let ended = usize::from(fault == Fault::Close);
        assert_eq!(outcome.ended.len(), ended, "{fault:?}: {:?}", outcome.ended);
    };
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || check(case));
        }
    });
}

#[test]
fn a_refused_event_fails() {
    let outcome = outcome(Fault::Refuse);
    assert!(!outcome.has_passed());
    assert_eq!(outcome.sent.refused, 1);
    assert!(
        outcome
            .sent
            .first_refusal
            .unwrap()
            .contains("invalid_payload")
    );
}

#[test]
fn a_delay_shows_on_everything_that_waited_behind_it() {
    let outcome = outcome(Fault::Delay);
    assert!(outcome.has_passed());
    // Events 6 to 10 were due while the server slept; a client that only timed the way from
    // sending to reading would have seen one slow delivery.
    let slow = outcome.latency.count_between(15_000, 60_000_000);
    assert!(outcome.latency.max() >= 55_000 && slow >= 10, "{slow}");
}
