//! Pings: who answers stays, who is silent is closed in time.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::harness::client::Incoming;
use crate::harness::http::Connection;
use crate::harness::{Client, Ending, Opening, Server};

const SETTINGS: [&str; 4] = ["--ping-interval", "400ms", "--pong-timeout", "300ms"];

/// Everything that comes on the plain TCP connection until it ends, and how long that took.
fn silent_to_the_end(client: &mut Client) -> (Vec<u8>, Duration) {
    let started = Instant::now();
    let mut bytes = Vec::new();
    client.socket.get_mut().read_to_end(&mut bytes).unwrap();
    (bytes, started.elapsed())
}

#[test]
fn a_client_that_stops_answering_is_closed_within_interval_and_timeout() {
    let server = Server::with(&SETTINGS);
    for role in ["public", "customer"] {
        let mut client = if role == "public" {
            server.public()
        } else {
            server.user("ann", role)
        };
        // Read below tungstenite, which would answer the pings.
        let (bytes, took) = silent_to_the_end(&mut client);
        assert!(bytes.starts_with(&[0x89]), "a ping comes first: {bytes:x?}");
        let close = bytes.windows(4).find(|window| window[0] == 0x88).unwrap();
        assert_eq!(u16::from_be_bytes([close[2], close[3]]), 4408, "{bytes:x?}");
        // 400 + 300 ms after the last sign of life; the rest is the closing connection's second and a loaded machine.
        assert!(
            (300..4000).contains(&took.as_millis()),
            "closed after {took:?}"
        );
    }
}

#[test]
fn a_client_that_answers_stays() {
    let server = Server::with(&SETTINGS);
    let mut client = server.public();
    let mut pings = 0;
    // tungstenite answers each ping with the next read.
    while pings < 6 {
        match client.read() {
            Incoming::Ping => pings += 1,
            other => panic!("only pings were expected, but {other:?}"),
        }
    }
    client.ping();
}

#[test]
fn any_frame_is_a_sign_of_life() {
    let server = Server::with(&SETTINGS);
    let mut client = server.public();
    let started = Instant::now();
    // A masked, unasked pong: never the answer to a ping, but a frame.
    while started.elapsed() < Duration::from_millis(2500) {
        client.send_raw(&[0x8a, 0x81, 0, 0, 0, 0, b'x']);
        std::thread::sleep(Duration::from_millis(150));
    }
    client.ping();
}

#[test]
fn pings_are_spread_over_the_interval() {
    let server = Server::with(&["--ping-interval", "2s", "--pong-timeout", "5s"]);
    let clients: Vec<Client> = (0..40).map(|_| server.public()).collect();
    // After their first interval, all are pinged within each interval, but never all in one moment.
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            std::thread::spawn(move || {
                let mut times = Vec::new();
                while times.len() < 2 {
                    if let Incoming::Ping = client.read() {
                        times.push(Instant::now());
                    }
                }
                times
            })
        })
        .collect();
    let mut times: Vec<Instant> = readers
        .into_iter()
        .flat_map(|reader| reader.join().unwrap())
        .collect();
    times.sort_unstable();
    let busiest = times
        .iter()
        .map(|start| {
            times
                .iter()
                .filter(|time| **time >= *start && **time < *start + Duration::from_millis(50))
                .count()
        })
        .max();
    // 80 pings over some 4 s: a fair spread has one or two in 50 ms.
    assert!(
        busiest.unwrap() <= 25,
        "{busiest:?} of 80 pings within 50 ms"
    );
}

#[test]
fn plain_http_connections_are_not_pinged() {
    let server = Server::with(&SETTINGS);
    let mut connection = Connection::open(server.address);
    connection.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(connection.response(false).status, 200);
    connection.expect_end();
}

#[test]
fn a_client_that_vanishes_is_forgotten() {
    let server = Server::with(&SETTINGS);
    // Nothing is ever read or sent again on this one, and no FIN is seen: as if a laptop were closed.
    let client = Client::connect(&server, Opening::new());
    crate::harness::wait_until("the connection is no longer counted", || {
        server.stats()["totalConnections"] == 0
    });
    let mut client = client;
    let (ending, _) = client.read_to_end();
    assert_ne!(ending, Ending::Closed(1000));
}
