//! Callers who want to harm: floods, lines without end, smuggled requests, a shortage of files.

use std::io::Write;
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::harness::client::dial;
use crate::harness::examples::event;
use crate::harness::http::Connection;
use crate::harness::{Client, Opening, Server, Setup, wait_until};

#[test]
fn a_line_without_end_takes_no_memory() {
    let server = Server::start();
    let mut emitter = server.emitter();
    let before = server.resident_kib();
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        emitter.send_raw(&chunk);
    }
    let grown = server.resident_kib().saturating_sub(before);
    emitter.send_raw(b"\n");
    emitter.settle();
    assert_eq!(emitter.refusals().len(), 1);
    assert_eq!(emitter.refusals()[0].code, "too_large");
    assert!(
        grown < 16 * 1024,
        "{grown} KiB for a line that can never be taken"
    );
    emitter.emit(&event("product:created"));
}

#[test]
fn unauthenticated_clients_cannot_make_the_server_hold_much() {
    const CLIENTS: usize = 300;
    let server = Server::start();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.public()).collect();
    let before = server.resident_kib();
    // Each sends a frame that is all but complete: 8,000 of 8,001 bytes.
    let mut frame = vec![0x81, 0xfe];
    frame.extend_from_slice(&8001_u16.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&[b' '; 8000]);
    for client in &mut clients {
        client.send_raw(&frame);
    }
    server.public().ping();
    let grown = server.resident_kib().saturating_sub(before);
    // 8 KiB each, and half as much again for the allocator.
    assert!(
        grown < CLIENTS as u64 * 12,
        "{grown} KiB for {CLIENTS} clients"
    );
}

#[test]
fn a_body_is_never_read_as_another_request() {
    let server = Server::start();
    let inner = "GET /api/ws/info HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for head in [
        format!(
            "POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            inner.len()
        ),
        format!(
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            inner.len()
        ),
        "POST /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_owned(),
    ] {
        let mut connection = Connection::open(server.address);
        connection.send(format!("{head}{inner}").as_bytes());
        connection.send(b"GET /nope HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let rest = String::from_utf8_lossy(&connection.read_rest()).into_owned();
        assert!(rest.starts_with("HTTP/1.1 "), "{head} -> {rest}");
        assert!(
            !rest.contains("operational"),
            "the body was answered: {head} -> {rest}"
        );
    }
}

#[test]
fn a_shortage_of_files_passes() {
    let server = Setup::new(&[]).open_files(64).start();
    let mut watcher = server.public();
    watcher.subscribe(&["products"]);
    let mut emitter = server.emitter();
    // More than it can have: some wait in the kernel's queue or are turned away.
    let crowd: Vec<Connection> = (0..100).map(|_| Connection::open(server.address)).collect();
    let emitters: Vec<UnixStream> = (0..20)
        .filter_map(|_| UnixStream::connect(&server.socket).ok())
        .collect();
    let id = emitter.emit(&event("product:created"));
    assert_eq!(
        watcher.expect_event("product:created")["id"],
        id.as_str(),
        "those who are in are served"
    );
    drop((crowd, emitters));
    // One that comes too early is cut off without an answer.
    wait_until("newcomers are let in again", || {
        dial(server.address, &Opening::new()).is_ok()
    });
    server.emitter().emit(&event("product:created"));
    let lines = server.stderr().lines().count();
    assert!(lines < 200, "{lines} lines in the log");
}

#[test]
fn garbage_on_both_doors_leaves_the_server_standing() {
    let seed = std::env::var("SHOPWIRE_TEST_SEED")
        .ok()
        .map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("SHOPWIRE_TEST_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let server = Server::start();
    let mut watcher = server.public();
    watcher.subscribe(&["products"]);
    for _ in 0..150 {
        let garbage: Vec<u8> = (0..rng.usize(1..600)).map(|_| rng.u8(..)).collect();
        // The server may end the connection before it has read all of it.
        let mut socket = UnixStream::connect(&server.socket).unwrap();
        socket.write_all(&garbage).ok();
        let mut http = crate::harness::client::tcp(server.address, None);
        http.write_all(&garbage).ok();
        let mut client = server.public();
        client.socket.get_mut().write_all(&garbage).ok();
        let mut text = json!({"type": "subscribe", "data": {"namespaces": ["products"]}})
            .to_string()
            .into_bytes();
        let at = rng.usize(..text.len());
        text[at] = rng.u8(32..127);
        let mut client = server.public();
        client.send_text(std::str::from_utf8(&text).unwrap());
        client.answer();
    }
    let id = server.emitter().emit(&event("product:created"));
    assert_eq!(watcher.expect_event("product:created")["id"], id.as_str());
}
