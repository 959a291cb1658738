//! RFC 6455 on the wire: what a broken or hostile client sends, and the close code it is answered with.

use serde_json::json;

use crate::harness::{Client, Ending, Opening, Server, tokens};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;

/// A client frame with a first byte of one's own choice, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..65536 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = [0x12, 0x34, 0x56, 0x78];
    bytes.extend_from_slice(&mask);
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

fn ping_message(size: usize) -> String {
    let message = r#"{"type":"ping"}"#;
    format!("{message}{}", " ".repeat(size - message.len()))
}

#[track_caller]
fn ends_with(client: &mut Client, bytes: &[u8], code: u16, why: &str) {
    client.send_raw(bytes);
    let (ending, messages) = client.read_to_end();
    assert_eq!(
        ending,
        Ending::Closed(code),
        "{why}; before it: {messages:?}"
    );
}

#[test]
fn broken_frames_are_1002() {
    let server = Server::start();
    let unmasked = [FIN | TEXT, 4, b'p', b'i', b'n', b'g'];
    let long_ping = frame(FIN | PING, &[0; 126]);
    let not_minimal_16 = [FIN | TEXT, 0x80 | 126, 0, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5];
    let not_minimal_64 = [
        FIN | TEXT,
        0x80 | 127,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        5,
        0,
        0,
        0,
        0,
        1,
        2,
        3,
        4,
        5,
    ];
    let table: Vec<(&str, Vec<u8>)> = vec![
        ("an unmasked frame", unmasked.to_vec()),
        ("reserved bit 1", frame(FIN | 0x40 | TEXT, b"{}")),
        ("reserved bit 2", frame(FIN | 0x20 | TEXT, b"{}")),
        ("reserved bit 3", frame(FIN | 0x10 | TEXT, b"{}")),
        ("opcode 3", frame(FIN | 3, b"")),
        ("opcode 11", frame(FIN | 11, b"")),
        ("opcode 15", frame(FIN | 15, b"")),
        ("a ping in pieces", frame(PING, b"")),
        ("a close in pieces", frame(CLOSE, b"")),
        ("a ping of 126 bytes", long_ping),
        ("a pong of 126 bytes", frame(FIN | PONG, &[0; 126])),
        ("a continuation of nothing", frame(FIN, b"x")),
        (
            "a new message within a message",
            [frame(TEXT, b"{"), frame(FIN | TEXT, b"}")].concat(),
        ),
        ("a length of 5 in 16 bits", not_minimal_16.to_vec()),
        ("a length of 5 in 64 bits", not_minimal_64.to_vec()),
        (
            "a length with the top bit",
            vec![FIN | TEXT, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
        ),
        ("a close of one byte", frame(FIN | CLOSE, &[3])),
        ("close code 999", frame(FIN | CLOSE, &999_u16.to_be_bytes())),
        (
            "close code 1005",
            frame(FIN | CLOSE, &1005_u16.to_be_bytes()),
        ),
        (
            "close code 1006",
            frame(FIN | CLOSE, &1006_u16.to_be_bytes()),
        ),
        (
            "close code 1015",
            frame(FIN | CLOSE, &1015_u16.to_be_bytes()),
        ),
        (
            "close code 2999",
            frame(FIN | CLOSE, &2999_u16.to_be_bytes()),
        ),
        (
            "close code 5000",
            frame(FIN | CLOSE, &5000_u16.to_be_bytes()),
        ),
    ];
    for (why, bytes) in table {
        ends_with(&mut server.public(), &bytes, 1002, why);
    }
}

#[test]
fn binary_messages_are_1003() {
    let server = Server::start();
    ends_with(
        &mut server.public(),
        &frame(FIN | BINARY, b"{}"),
        1003,
        "binary",
    );
    ends_with(
        &mut server.public(),
        &frame(BINARY, b""),
        1003,
        "binary in pieces",
    );
}

#[test]
fn text_that_is_not_utf8_is_1007() {
    let server = Server::start();
    for (why, bytes) in [
        ("a stray byte", frame(FIN | TEXT, b"\xff")),
        (
            "an overlong form",
            frame(FIN | TEXT, b"{\"type\":\"\xc0\x80\"}"),
        ),
        ("a surrogate", frame(FIN | TEXT, b"\xed\xa0\x80")),
        (
            "a character cut off at the end",
            frame(FIN | TEXT, b"{}\xc3"),
        ),
        (
            "a stray byte in the second piece",
            [frame(TEXT, b"{"), frame(FIN, b"\x80")].concat(),
        ),
        ("a close reason", frame(FIN | CLOSE, b"\x03\xe8\xff")),
    ] {
        ends_with(&mut server.public(), &bytes, 1007, why);
    }
    // A character may be cut by a fragment's end.
    let mut client = server.public();
    client.send_raw(
        &[
            frame(TEXT, b"{\"type\":\"ping\",\"x\":\"\xf0\x9f"),
            frame(0, b"\x98"),
            frame(FIN, b"\x80\"}"),
        ]
        .concat(),
    );
    client.expect("pong");
}

#[test]
fn a_close_is_answered_with_its_code() {
    let server = Server::start();
    for code in [1000_u16, 1001, 3000, 4999] {
        ends_with(
            &mut server.public(),
            &frame(FIN | CLOSE, &code.to_be_bytes()),
            code,
            "the code comes back",
        );
    }
    let mut client = server.public();
    client.send_raw(&frame(FIN | CLOSE, b""));
    let (ending, _) = client.read_to_end();
    assert!(matches!(ending, Ending::Closed(1000 | 1005)), "{ending:?}");
    // What follows a close is not read.
    let mut client = server.public();
    let bytes = [
        frame(FIN | CLOSE, &1000_u16.to_be_bytes()),
        frame(FIN | TEXT, b"{\"type\":\"ping\"}"),
    ]
    .concat();
    client.send_raw(&bytes);
    assert_eq!(client.expect_close(1000).len(), 0);
}

#[test]
fn pings_are_answered_with_their_payload_also_within_a_message() {
    let server = Server::start();
    let mut client = server.public();
    let bytes = [
        frame(TEXT, b"{\"type\""),
        frame(FIN | PING, b"a"),
        frame(0, b":\"ping\""),
        frame(FIN | PONG, b"unasked"),
        frame(FIN | PING, &[7; 125]),
        frame(FIN, b"}"),
    ]
    .concat();
    client.send_raw(&bytes);
    for expected in [b"a".to_vec(), vec![7; 125]] {
        match client.socket.read().unwrap() {
            tungstenite::Message::Pong(payload) => assert_eq!(payload, expected),
            other => panic!("a pong was expected, not {other:?}"),
        }
    }
    client.expect("pong");
}

#[test]
fn frames_may_come_byte_by_byte() {
    let server = Server::start();
    let mut client = server.public();
    for byte in [
        frame(TEXT, b"{\"type\":"),
        frame(FIN | PING, b"x"),
        frame(FIN, b"\"ping\"}"),
    ]
    .concat()
    {
        client.send_raw(&[byte]);
    }
    client.expect("pong");
}

#[test]
fn before_a_token_8_kib_are_the_most_and_after_it_max_message() {
    let server = Server::with(&["--max-message", "20000"]);
    let mut public = server.public();
    public.send_text(&ping_message(8000));
    public.expect("pong");
    ends_with(
        &mut public,
        &frame(FIN | TEXT, ping_message(8300).as_bytes()),
        1009,
        "8,300 bytes before a token",
    );
    // The declared length alone decides: nothing of it need be sent.
    let mut declared = vec![FIN | TEXT, 0xff];
    declared.extend_from_slice(&1_000_000_000_u64.to_be_bytes());
    declared.extend_from_slice(&[0; 4]);
    ends_with(&mut server.public(), &declared, 1009, "a declared gigabyte");
    let in_pieces = [frame(TEXT, &[b' '; 5000]), frame(0, &[b' '; 5000])].concat();
    ends_with(
        &mut server.public(),
        &in_pieces,
        1009,
        "10,000 bytes in pieces",
    );
    let mut user = server.user("ann", "customer");
    user.send_text(&ping_message(20_000));
    user.expect("pong");
    ends_with(
        &mut user,
        &frame(FIN | TEXT, ping_message(20_001).as_bytes()),
        1009,
        "one byte more than max-message",
    );
    let mut later = server.public();
    later.auth(&tokens::of("ann", "customer"));
    later.send_text(&ping_message(20_000));
    later.expect("pong");
    let in_pieces = [frame(TEXT, &[b' '; 12_000]), frame(FIN, &[b' '; 8_001])].concat();
    ends_with(&mut later, &in_pieces, 1009, "20,001 bytes in pieces");
}

#[test]
fn a_broken_client_disturbs_nobody() {
    let server = Server::start();
    let mut watcher = server.public();
    watcher.subscribe(&["products"]);
    for n in 0..30 {
        let mut client = server.public();
        client.subscribe(&["products"]);
        client.send_raw(&frame(FIN | TEXT, b"half a frame")[..n % 10 + 1]);
        drop(client);
    }
    let mut emitter = server.emitter();
    let id = emitter.emit(&json!({"type": "product:deleted", "data": {"productId": "p"}}));
    assert_eq!(watcher.expect_event("product:deleted")["id"], id.as_str());
}

#[test]
fn a_connection_that_is_closed_ends_soon_though_the_client_says_nothing() {
    let server = Server::start();
    let mut client = Client::handshake(server.address, Opening::new()).unwrap();
    client.expect("welcome");
    client.send_raw(&frame(FIN | BINARY, b"x"));
    client.expect_close(1003);
    crate::harness::wait_until("the connection is gone", || {
        server.stats()["totalConnections"] == 0
    });
}
