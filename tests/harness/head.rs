//! The head of a handshake, to be spoiled line by line.

use super::Server;
use super::http::{Response, request};

/// A handshake as head lines, which tests take lines out of and put others in.
pub struct Head {
    first: String,
    lines: Vec<(String, String)>,
}

impl Head {
    pub fn new(server: &Server) -> Self {
        let lines = [
            ("Host", server.address.to_string()),
            ("Connection", "Upgrade".into()),
            ("Upgrade", "websocket".into()),
            ("Sec-WebSocket-Version", "13".into()),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==".into()),
        ];
        Self {
            first: "GET /api/ws HTTP/1.1".into(),
            lines: lines
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        }
    }

    pub fn first(mut self, line: &str) -> Self {
        self.first = line.to_owned();
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.lines.retain(|(line, _)| line != name);
        self
    }

    pub fn with(self, name: &str, value: &str) -> Self {
        let mut head = self.without(name);
        head.lines.push((name.to_owned(), value.to_owned()));
        head
    }

    pub fn text(&self) -> String {
        let lines: String = self
            .lines
            .iter()
            .map(|(name, value)| format!("\r\n{name}: {value}"))
            .collect();
        format!("{}{lines}", self.first)
    }

    pub fn send(&self, server: &Server) -> Response {
        request(server.address, &self.text())
    }

    #[track_caller]
    pub fn refused(&self, server: &Server, status: u16) -> Response {
        let response = self.send(server);
        response.assert_refusal(status, &self.text());
        response
    }
}
