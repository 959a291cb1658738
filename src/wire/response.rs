//! HTTP/1.1 answers as bytes.
//!
//! Owns how an answer is laid out, the error body of every HTTP refusal, and the 101 that turns a
//! connection into a WebSocket. Called by the reactor and the plain HTTP endpoints.

use std::borrow::Cow;

use tungstenite::handshake::derive_accept_key;

/// Why a request is not answered as it wished: an HTTP status and the JSON error that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status code.
    pub status: u16,
    /// The error's code, one word for machines.
    pub code: &'static str,
    /// A sentence saying what was wrong and what is allowed.
    pub message: Cow<'static, str>,
    /// Headers that belong to this status.
    pub headers: &'static [(&'static str, &'static str)],
    /// Seconds after which trying again makes sense, sent as Retry-After.
    pub retry_after: Option<u32>,
}

impl Refusal {
    /// A refusal without headers of its own.
    pub fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            headers: &[],
            retry_after: None,
        }
    }

    /// The same with headers that belong to it.
    pub fn with_headers(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    /// The same with `Retry-After: seconds`.
    pub fn with_retry_after(self, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }
}

/// Appends the answer for `refusal`, with further headers (CORS) where the caller has some.
pub fn put_refusal(
    out: &mut Vec<u8>,
    refusal: &Refusal,
    further_headers: &[(&str, &str)],
    keep_alive: bool,
    head_only: bool,
) {
    let seconds = refusal.retry_after.map(|seconds| seconds.to_string());
    let mut all: Vec<(&str, &str)> = refusal.headers.to_vec();
    all.extend(
        seconds
            .iter()
            .map(|seconds| ("Retry-After", seconds.as_str())),
    );
    all.extend_from_slice(further_headers);
    put_error(
        out,
        refusal.status,
        refusal.code,
        &refusal.message,
        &all,
        keep_alive,
        head_only,
    );
}

/// Appends an answer whose body is `{"error":{"code":…,"message":…}}`.
pub fn put_error(
    out: &mut Vec<u8>,
    status: u16,
    code: &str,
    message: &str,
    headers: &[(&str, &str)],
    keep_alive: bool,
    head_only: bool,
) {
    let body = serde_json::json!({ "error": { "code": code, "message": message } }).to_string();
    let content_type = "application/json";
    put_response(
        out,
        status,
        headers,
        content_type,
        body.as_bytes(),
        head_only,
        keep_alive,
    );
}

/// Appends an answer. With `head_only` (the answer to HEAD) the body is measured and left out.
/// Statuses that have no body (204, 304) get neither body, type nor length.
///
/// `headers` must be free of CR and LF, which values taken from a parsed request are.
pub fn put_response(
    out: &mut Vec<u8>,
    status: u16,
    headers: &[(&str, &str)],
    content_type: &str,
    body: &[u8],
    head_only: bool,
    keep_alive: bool,
) {
    put_status_line(out, status);
    for (name, value) in headers {
        put_header_line(out, name, value);
    }
    let has_body = !matches!(status, 204 | 304);
    if has_body {
        put_header_line(out, "Content-Type", content_type);
        put_header_line(out, "X-Content-Type-Options", "nosniff");
        put_header_line(out, "Content-Length", &body.len().to_string());
    }
    put_header_line(
        out,
        "Connection",
        if keep_alive { "keep-alive" } else { "close" },
    );
    out.extend_from_slice(b"\r\n");
    if has_body && !head_only {
        out.extend_from_slice(body);
    }
}

/// Appends the 101 answer to a handshake with `key` (RFC 6455 section 4.2.2), naming the
/// sub-protocol that was chosen, if any.
pub fn put_switching_protocols(out: &mut Vec<u8>, key: &str, protocol: Option<&str>) {
    // Written out, because in a storm of connections every one has it.
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    put_header_line(
        out,
        "Sec-WebSocket-Accept",
        &derive_accept_key(key.as_bytes()),
    );
    if let Some(protocol) = protocol {
        put_header_line(out, "Sec-WebSocket-Protocol", protocol);
    }
    out.extend_from_slice(b"\r\n");
}

fn put_status_line(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn put_header_line(out: &mut Vec<u8>, name: &str, value: &str) {
    debug_assert!(!name.contains(['\r', '\n', ':']) && !value.contains(['\r', '\n']));
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        // The phrase is for people only, and may be empty (RFC 9112 section 4).
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(out: Vec<u8>) -> String {
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_to_the_byte() {
        let mut out = Vec::new();
        put_response(
            &mut out,
            200,
            &[("Vary", "Origin")],
            "text/plain",
            b"hello",
            false,
            true,
        );
        assert_eq!(
            text(out),
            "HTTP/1.1 200 OK\r\nVary: Origin\r\nContent-Type: text/plain\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Length: 5\r\n\
             Connection: keep-alive\r\n\r\nhello"
        );
    }

    #[test]
    fn head_has_the_length_and_no_body() {
        let mut out = Vec::new();
        put_response(&mut out, 200, &[], "text/plain", b"hello", true, false);
        let text = text(out);
        assert!(text.contains("Content-Length: 5\r\n"));
        assert!(text.ends_with("Connection: close\r\n\r\n"));
    }

    #[test]
    fn no_content_has_neither_length_nor_type() {
        let mut out = Vec::new();
        put_response(&mut out, 204, &[], "", b"", false, true);
        assert_eq!(
            text(out),
            "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n"
        );
    }

    #[test]
    fn a_refusal_brings_its_headers_and_a_json_body() {
        let refusal = Refusal::new(429, "rate_limited", "say \"please\"\n")
            .with_headers(&[("X-A", "1")])
            .with_retry_after(7);
        let mut out = Vec::new();
        put_refusal(&mut out, &refusal, &[("Vary", "Origin")], false, false);
        let text = text(out);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 429 Too Many Requests\r\n"));
        for line in [
            "X-A: 1",
            "Retry-After: 7",
            "Vary: Origin",
            "Content-Type: application/json",
        ] {
            assert!(head.lines().any(|have| have == line), "{line}");
        }
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"error": {"code": "rate_limited", "message": "say \"please\"\n"}})
        );
    }

    #[test]
    fn switching_protocols_with_the_example_of_the_rfc() {
        let mut out = Vec::new();
        put_switching_protocols(&mut out, "dGhlIHNhbXBsZSBub25jZQ==", Some("shopwire.v1"));
        assert_eq!(
            text(out),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             Sec-WebSocket-Protocol: shopwire.v1\r\n\r\n"
        );
    }
}
