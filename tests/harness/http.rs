//! Plain HTTP/1.1 by hand, so that a test decides about every byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::client::tcp;

/// An HTTP response as it came.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header, which must not be there more than once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .headers
            .iter()
            .filter(|(header, _)| header.eq_ignore_ascii_case(name));
        let first = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice: {:?}", self.headers);
        first
    }

    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {text:?}"))
    }

    /// Checks that a refusal has its status and the JSON body all of them have.
    pub fn assert_refusal(&self, status: u16, context: &str) {
        assert_eq!(
            self.status,
            status,
            "{context}: {:?} {}",
            self.headers,
            String::from_utf8_lossy(&self.body)
        );
        let body = self.json();
        let error = &body["error"];
        assert!(
            error["code"].as_str().is_some_and(|code| !code.is_empty()),
            "{context}: {body}"
        );
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.len() >= 10),
            "{context}: {body}"
        );
    }
}

/// A connection that requests can be sent over one after another.
pub struct Connection<S = TcpStream> {
    stream: S,
    received: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::over(tcp(address, None))
    }
}

impl<S: Read + Write> Connection<S> {
    pub fn over(stream: S) -> Self {
        Self {
            stream,
            received: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Reads one response; `to_head` when the request was HEAD, whose response has no body.
    pub fn response(&mut self, to_head: bool) -> Response {
        let head_end = loop {
            if let Some(at) = find(&self.received, b"\r\n\r\n") {
                break at + 4;
            }
            assert!(
                self.fill() > 0,
                "the connection ended before a response: {:?}",
                String::from_utf8_lossy(&self.received)
            );
        };
        let head = String::from_utf8(self.received.drain(..head_end).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap();
        assert!(status_line.starts_with("HTTP/1.1 "), "{status_line}");
        let status = status_line[9..12].parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        let bodyless = to_head || status == 204 || status == 101;
        let length = if bodyless {
            0
        } else {
            response
                .header("Content-Length")
                .map_or(0, |n| n.parse().unwrap())
        };
        while self.received.len() < length {
            assert!(self.fill() > 0, "the connection ended within a body");
        }
        response.body = self.received.drain(..length).collect();
        response
    }

    /// Waits for the end of the connection; nothing more may come on it.
    pub fn expect_end(&mut self) {
        let rest = self.read_rest();
        assert!(
            rest.is_empty(),
            "unexpected: {:?}",
            String::from_utf8_lossy(&rest)
        );
    }

    /// All that is still to come until the server ends the connection.
    pub fn read_rest(&mut self) -> Vec<u8> {
        while self.fill() > 0 {}
        std::mem::take(&mut self.received)
    }

    fn fill(&mut self) -> usize {
        let mut buffer = [0; 4096];
        let n = self
            .stream
            .read(&mut buffer)
            .expect("the server answers within the deadline");
        self.received.extend_from_slice(&buffer[..n]);
        n
    }
}

/// One request on a connection of its own: its head without the last blank line.
pub fn request(address: SocketAddr, head: &str) -> Response {
    let mut connection = Connection::open(address);
    connection.send(format!("{head}\r\n\r\n").as_bytes());
    connection.response(head.starts_with("HEAD "))
}

pub fn get(address: SocketAddr, path: &str) -> Response {
    request(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close"),
    )
}

/// A GET with further header lines.
pub fn get_with(address: SocketAddr, path: &str, headers: &[&str]) -> Response {
    let more: String = headers.iter().map(|line| format!("\r\n{line}")).collect();
    request(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close{more}"),
    )
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
