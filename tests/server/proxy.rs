//! Behind a proxy that puts a PROXY header before everything else.

use std::net::Ipv4Addr;

use crate::harness::Server;
use crate::harness::head::Head;
use crate::harness::http::{Connection, Response};

fn v2(source: Ipv4Addr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&[127, 0, 0, 1, 0x12, 0x34, 0x0b, 0xb9]);
    header
}

fn v1(source: &str) -> Vec<u8> {
    format!("PROXY TCP4 {source} 127.0.0.1 4660 3001\r\n").into_bytes()
}

fn send(server: &Server, before: &[u8], head: &Head) -> Response {
    let mut connection = Connection::open(server.address);
    connection.send(&[before, head.text().as_bytes(), b"\r\n\r\n"].concat());
    connection.response(false)
}

#[test]
fn the_header_of_a_trusted_proxy_names_the_client() {
    let server = Server::with(&["--trusted-proxies", "127.0.0.1/32", "--connect-rate", "2"]);
    let status = |before: &[u8]| send(&server, before, &Head::new(&server)).status;
    assert_eq!(
        [
            status(&v1("203.0.113.1")),
            status(&v2(Ipv4Addr::new(203, 0, 113, 1))),
            status(&v1("203.0.113.1"))
        ],
        [101, 101, 429]
    );
    assert_eq!(
        status(&v2(Ipv4Addr::new(203, 0, 113, 2))),
        101,
        "another client has a bucket of its own"
    );
    assert_eq!(status(b"PROXY TCP6 2001:db8::1 ::1 4660 3001\r\n"), 101);
    // Optional: also without, then it is the proxy itself.
    assert_eq!([status(b""), status(b"PROXY UNKNOWN\r\n")], [101, 101]);
    assert_eq!(status(b""), 429);
}

#[test]
fn the_header_may_come_byte_by_byte() {
    let server = Server::with(&["--trusted-proxies", "127.0.0.1"]);
    for before in [v1("203.0.113.1"), v2(Ipv4Addr::new(203, 0, 113, 1))] {
        let mut connection = Connection::open(server.address);
        for byte in [
            before.as_slice(),
            Head::new(&server).text().as_bytes(),
            b"\r\n\r\n",
        ]
        .concat()
        {
            connection.send(&[byte]);
        }
        assert_eq!(connection.response(false).status, 101);
    }
}

#[test]
fn broken_headers_are_400() {
    let server = Server::with(&["--trusted-proxies", "127.0.0.1"]);
    for before in [
        &b"PROXY TCP4 nonsense 127.0.0.1 1 2\r\n"[..],
        b"PROXY TCP4 203.0.113.1\r\n",
        b"PROXY TCP5 203.0.113.1 127.0.0.1 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x0c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    ] {
        send(&server, before, &Head::new(&server))
            .assert_refusal(400, &format!("{:?}", String::from_utf8_lossy(before)));
    }
}

#[test]
fn nobody_else_may_say_who_he_is() {
    let server = Server::with(&["--trusted-proxies", "10.0.0.0/8"]);
    send(&server, &v1("10.0.0.1"), &Head::new(&server))
        .assert_refusal(400, "a PROXY header from an untrusted peer");
    // Nor does it open the stats, which are for this host: the client behind the proxy is elsewhere.
    let server = Server::with(&["--trusted-proxies", "127.0.0.1"]);
    let head = Head::new(&server)
        .first("GET /api/ws/stats HTTP/1.1")
        .without("Upgrade")
        .without("Connection");
    send(&server, &v1("203.0.113.1"), &head).assert_refusal(401, "stats through a proxy");
}
