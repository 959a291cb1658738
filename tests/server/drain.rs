//! Stopping: nothing that was handed over is lost, everyone is told, and the process ends in time.

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Client, Opening, Server, wait_until};

fn product(n: usize) -> Value {
    json!({"type": "product:deleted", "data": {"productId": n.to_string()}})
}

#[test]
fn sigterm_settles_every_line_says_goodbye_and_ends_with_0() {
    const LINES: usize = 500;
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start();
        let mut clients: Vec<Client> = (0..10).map(|_| server.public()).collect();
        for client in &mut clients {
            client.subscribe(&["products"]);
        }
        let mut emitter = server.emitter();
        // One turn on the socket first: an emitter that is still waiting to be accepted has no promise.
        emitter.emit(&product(0));
        let lines: String = (1..LINES).map(|n| format!("{}\n", product(n))).collect();
        emitter.send_raw(lines.as_bytes());
        emitter.send_raw(br#"{"type":"product:deleted","da"#);
        server.signal(signal);
        emitter.settle();
        emitter.read_to_end();
        assert_eq!(emitter.refusals(), []);
        for client in &mut clients {
            let messages = client.expect_close(1001);
            let (goodbye, events) = messages.split_last().unwrap();
            assert_eq!(goodbye["type"], "reconnect", "{goodbye}");
            let after = goodbye["data"]["after"].as_u64().unwrap();
            assert!(
                after <= 1000,
                "10 clients come back within a second: {after}"
            );
            let got: Vec<&Value> = events
                .iter()
                .map(|event| &event["data"]["productId"])
                .collect();
            assert_eq!(
                got,
                (0..LINES)
                    .map(|n| json!(n.to_string()))
                    .collect::<Vec<_>>()
                    .iter()
                    .collect::<Vec<_>>()
            );
        }
        let (status, printed) = server.exit_within(Duration::from_secs(10));
        assert_eq!(status.code(), Some(0));
        assert_eq!(printed, Vec::<String>::new());
        assert!(
            !server.socket.exists(),
            "a clean exit removes the socket file"
        );
    }
}

#[test]
fn clients_are_told_to_come_back_spread_out() {
    let server = Server::start();
    let mut clients: Vec<Client> = (0..40).map(|_| server.public()).collect();
    server.signal(Signal::TERM);
    let after: Vec<u64> = clients
        .iter_mut()
        .map(|client| {
            client.expect("reconnect")["data"]["after"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert!(after.iter().all(|ms| *ms <= 1000), "{after:?}");
    let spread = after.iter().max().unwrap() - after.iter().min().unwrap();
    assert!(spread > 300, "drawn uniformly from a second: {after:?}");
}

#[test]
fn an_idle_server_ends_at_once() {
    let mut server = Server::start();
    let started = Instant::now();
    server.signal(Signal::TERM);
    let (status, _) = server.exit_within(Duration::from_secs(5));
    assert_eq!(status.code(), Some(0));
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

/// A client that reads nothing holds the drain open: megabytes are waiting for it.
fn held_open(args: &[&str]) -> (Server, Client, usize) {
    let server = Server::with(&[&["--outbox-limit", "64MiB"], args].concat());
    let mut slow = Client::connect(&server, Opening::new().receive_buffer(4096));
    slow.subscribe(&["products"]);
    let mut emitter = server.emitter();
    let events = 4000;
    for n in 0..events {
        let mut event = product(n);
        event["data"]["pad"] = "x".repeat(3000).into();
        emitter.send_line(event.to_string().as_bytes());
    }
    emitter.settle();
    (server, slow, events)
}

#[test]
fn while_draining_newcomers_are_refused_and_outboxes_flushed() {
    let (mut server, mut slow, events) = held_open(&["--drain-timeout", "9s"]);
    let mut late_emitter = server.emitter();
    late_emitter.emit(&product(9999));
    server.signal(Signal::TERM);
    wait_until("it is not ready any more", || {
        server.get("/readyz").status == 503
    });
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    for told in ["shopwire_draining 1", "shopwire_ready 0"] {
        assert!(metrics.lines().any(|line| line == told), "{metrics}");
    }
    assert_eq!(server.get("/healthz").status, 200, "it is still alive");
    assert_eq!(
        Client::try_connect(server.address, Opening::new()).err(),
        Some(503)
    );
    assert_emitters_are_refused(&server);
    assert!(
        server.is_running(),
        "the slow client's outbox is still waiting"
    );
    let messages = slow.expect_close(1001);
    assert_eq!(messages.len(), events + 2, "every event, and the goodbye");
    assert_eq!(messages.last().unwrap()["type"], "reconnect");
    assert_eq!(server.exit_within(Duration::from_secs(9)).0.code(), Some(0));
}

#[test]
fn the_drain_ends_in_time_even_if_a_client_never_reads() {
    let (mut server, _slow, _) = held_open(&["--drain-timeout", "1500ms"]);
    let started = Instant::now();
    server.signal(Signal::TERM);
    let (status, _) = server.exit_within(Duration::from_secs(8));
    let took = started.elapsed();
    assert_eq!(status.code(), Some(0));
    assert!(
        (1_000..4_500).contains(&took.as_millis()),
        "ended after {took:?}, with a drain timeout of 1.5 s"
    );
    assert!(!server.socket.exists());
}

#[test]
fn a_second_signal_ends_it_at_once_with_its_own_code() {
    for (second, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (mut server, _slow, _) = held_open(&["--drain-timeout", "60s"]);
        server.signal(Signal::TERM);
        wait_until("it is draining", || server.get("/readyz").status == 503);
        server.signal(second);
        let (status, printed) = server.exit_within(Duration::from_secs(3));
        assert_eq!(status.code(), Some(code));
        assert_eq!(printed, Vec::<String>::new());
    }
}

#[test]
fn no_one_goes_offline_because_the_server_stops() {
    let server = Server::start();
    let mut staff = server.user("sam", "staff");
    staff.subscribe(&["customers"]);
    let _ann = server.user("ann", "customer");
    staff.expect_event("customer:online");
    server.signal(Signal::TERM);
    let messages = staff.expect_close(1001);
    let kinds: Vec<&str> = messages
        .iter()
        .map(|message| message["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["reconnect"]);
}

#[test]
fn draining_again_by_ctl_is_the_same() {
    let mut server = Server::start();
    let mut client = server.public();
    let mut emitter = server.emitter();
    emitter.emit(&product(1));
    emitter.command(&json!({"command": "drain"}));
    client.expect("reconnect");
    client.expect_close(1001);
    assert_eq!(
        server.exit_within(Duration::from_secs(10)).0.code(),
        Some(0)
    );
}

fn assert_emitters_are_refused(server: &Server) {
    match UnixStream::connect(&server.socket) {
        Err(error) => assert!(
            matches!(
                error.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::NotFound
            ),
            "{error}"
        ),
        Ok(mut stream) => {
            // Taken in by the kernel's queue: nothing may be settled on it.
            stream
                .set_read_timeout(Some(Duration::from_millis(500)))
                .unwrap();
            let written = stream.write_all(format!("{}\n", product(1)).as_bytes());
            let mut answer = String::new();
            let read =
                std::io::BufRead::read_line(&mut std::io::BufReader::new(stream), &mut answer);
            assert!(
                !answer.contains("\"ack\""),
                "settled while draining: {answer} ({written:?}, {read:?})"
            );
        }
    }
}
