//! The head of an HTTP/1.1 request: parsed, bounded, and free of what requests are smuggled with.
//!
//! Owns the rules of RFC 9112 that hold for any request, whatever it asks for. Called by the reactor
//! with what has arrived so far; [`handshake`](super::handshake) and the plain HTTP endpoints then
//! read the [`Request`].

use super::response::Refusal;
use crate::limits::HEAD_BYTES_MAX;

/// Most header lines of a request.
pub const HEADERS_MAX: usize = 64;

/// What the bytes that have arrived are.
#[allow(
    clippy::large_enum_variant,
    reason = "lives on the stack for the length of one call"
)]
#[derive(Debug)]
pub enum Head<'a> {
    /// The head is not complete, and nothing is wrong so far.
    Partial,
    /// A whole head.
    Complete {
        /// Bytes of the head; what follows is the body or the next request.
        length: usize,
        /// What it asks for.
        request: Request<'a>,
    },
    /// Not a request this server answers otherwise than so; the connection closes after it.
    Refused(Refusal),
}

/// A request's head. Borrows the bytes it was read from.
#[derive(Debug)]
pub struct Request<'a> {
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    authority: Option<&'a str>,
    minor_version: u8,
    headers: [httparse::Header<'a>; HEADERS_MAX],
    header_count: usize,
    content_length: Option<u64>,
    chunked: bool,
}

/// Reads a request's head from `bytes`, everything that has arrived since the last request.
pub fn parse(bytes: &[u8]) -> Head<'_> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(&bytes[..bytes.len().min(HEAD_BYTES_MAX)]) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Head::Partial,
        Ok(httparse::Status::Partial) => {
            return Head::Refused(Refusal::new(
                431,
                "headers_too_large",
                "the request's head is over 8 KiB",
            ));
        }
        Err(httparse::Error::TooManyHeaders) => {
            return Head::Refused(Refusal::new(
                431,
                "headers_too_large",
                "the request has more than 64 headers",
            ));
        }
        Err(error) => return Head::Refused(malformed(sentence(error))),
    };
    if has_bare_line_end(&bytes[..length]) {
        return Head::Refused(malformed(
            "a line of the head ends with LF alone, and must with CR LF",
        ));
    }
    let (Some(method), Some(target), Some(minor_version)) =
        (parsed.method, parsed.path, parsed.version)
    else {
        return Head::Refused(malformed("the request line is not complete"));
    };
    let header_count = parsed.headers.len();
    let (authority, path, query) = match split_target(target) {
        Ok(parts) => parts,
        Err(refusal) => return Head::Refused(refusal),
    };
    let mut request = Request {
        method,
        path,
        query,
        authority,
        minor_version,
        headers,
        header_count,
        content_length: None,
        chunked: false,
    };
    match request.check_host().and_then(|()| request.body_framing()) {
        Ok((content_length, chunked)) => {
            request.content_length = content_length;
            request.chunked = chunked;
            Head::Complete { length, request }
        }
        Err(refusal) => Head::Refused(refusal),
    }
}

/// Whether a line ends with LF alone, which RFC 9112 section 2.2 lets a server take for an end: one in
/// front that does not would see fewer lines, and perhaps another end of the request.
fn has_bare_line_end(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

impl<'a> Request<'a> {
    /// The method, as it was written (methods are case-sensitive).
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The target's path, without the query, not decoded.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// What stands behind the target's `?`, not decoded.
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// The names of all header lines, in order, as they were written.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.headers[..self.header_count]
            .iter()
            .map(|header| header.name)
    }

    /// Whether the client speaks HTTP/1.1; otherwise it is HTTP/1.0.
    pub fn is_http_11(&self) -> bool {
        self.minor_version == 1
    }

    /// Host and port the client meant: of an absolute target, else of the Host header.
    pub fn host(&self) -> Option<&'a str> {
        self.authority.or_else(|| self.values("host").next())
    }

    /// The values of all header lines with this name, in order. The name's case does not matter.
    /// A value that is not UTF-8 reads as U+FFFD, which no rule accepts.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers[..self.header_count]
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| trim_spaces(std::str::from_utf8(header.value).unwrap_or("\u{FFFD}")))
    }

    /// Whether there is a header line with this name.
    pub fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// The value of a header that must not be repeated, since two readers could disagree about
    /// which one counts.
    ///
    /// # Errors
    /// 400 where it is repeated.
    pub fn single(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        let mut values = self.values(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(malformed(format!(
                "the header {name} is given more than once"
            ))),
        }
    }

    /// Whether a header that is a comma-separated list names `token` (in any case).
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.values(name)
            .flat_map(|value| value.split(','))
            .any(|element| trim_spaces(element).eq_ignore_ascii_case(token))
    }

    /// Whether the client wants to send a further request on this connection.
    pub fn keep_alive(&self) -> bool {
        if self.is_http_11() {
            !self.lists("connection", "close")
        } else {
            self.lists("connection", "keep-alive") && !self.lists("connection", "close")
        }
    }

    /// The body's length in bytes, where one is announced.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// The whole body at the beginning of `rest`, which is what has come behind the head; `None` if
    /// it has not come to its end.
    ///
    /// # Errors
    /// 411 where its length is not announced, 413 where that is over `most` bytes.
    pub fn body<'b>(&self, rest: &'b [u8], most: usize) -> Result<Option<&'b [u8]>, Refusal> {
        if self.chunked {
            let message = "a body needs a Content-Length here";
            return Err(Refusal::new(411, "length_required", message));
        }
        match usize::try_from(self.content_length.unwrap_or(0)) {
            Ok(length) if length <= most => Ok(rest.get(..length)),
            _ => {
                let message = format!("the body may have {most} bytes here");
                Err(Refusal::new(413, "too_large", message))
            }
        }
    }

    /// Whether a body follows the head.
    pub fn has_body(&self) -> bool {
        self.chunked || self.content_length.is_some_and(|length| length > 0)
    }

    fn check_host(&self) -> Result<(), Refusal> {
        match self.single("host")? {
            None if self.is_http_11() => Err(malformed("an HTTP/1.1 request needs a Host header")),
            Some(host) if host.contains(is_no_authority) => {
                Err(malformed("the Host header is not a host and port"))
            }
            _ => Ok(()),
        }
    }

    /// How the body is delimited (RFC 9112 section 6.3), refusing whatever two servers in a row
    /// could read differently.
    fn body_framing(&self) -> Result<(Option<u64>, bool), Refusal> {
        let length = match self.single("content-length")? {
            Some(digits) if digits.is_empty() || digits.contains(|c: char| !c.is_ascii_digit()) => {
                return Err(malformed("Content-Length is not a number of bytes"));
            }
            Some(digits) => match digits.parse() {
                Ok(length) => Some(length),
                Err(_) => return Err(malformed("Content-Length is too large a number")),
            },
            None => None,
        };
        let chunked = match self.single("transfer-encoding")? {
            None => false,
            Some(_) if length.is_some() => {
                return Err(malformed(
                    "Content-Length and Transfer-Encoding exclude each other",
                ));
            }
            Some(coding) if self.is_http_11() && coding.eq_ignore_ascii_case("chunked") => true,
            Some(_) => return Err(malformed("the only Transfer-Encoding taken is chunked")),
        };
        Ok((length, chunked))
    }
}

/// `text` without the white space around it that HTTP knows (RFC 9110 section 5.6.3): a proxy in front
/// takes the other spaces of Unicode for a part of the value, and so must we.
pub fn trim_spaces(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A 400 answer to a request that is not well formed.
pub fn malformed(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(400, "malformed", message)
}

type Target<'a> = (Option<&'a str>, &'a str, Option<&'a str>);

/// Splits a target into authority (of an absolute one, RFC 9112 section 3.2.2), path and query.
fn split_target(target: &str) -> Result<Target<'_>, Refusal> {
    let (authority, rest) = match strip_scheme(target) {
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(end);
            if authority.is_empty() || authority.contains(is_no_authority) {
                return Err(malformed(
                    "the request target's host is not a host and port",
                ));
            }
            (Some(authority), rest)
        }
        None => (None, target),
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    match path {
        "" if authority.is_some() => Ok((authority, "/", query)),
        "*" => Ok((authority, path, query)),
        path if path.starts_with('/') => Ok((authority, path, query)),
        _ => Err(malformed("the request target must start with /")),
    }
}

fn strip_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    ["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
        .then_some(rest)
}

fn is_no_authority(c: char) -> bool {
    !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~' | ':' | '[' | ']' | '%'))
}

fn sentence(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a header's name has a character it must not have",
        httparse::Error::HeaderValue => "a header's value has a character it must not have",
        httparse::Error::NewLine => "a line does not end in CR LF",
        httparse::Error::Version => "the version must be HTTP/1.1 or HTTP/1.0",
        _ => "this is not an HTTP/1.1 request",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn complete(text: &str) -> Request<'_> {
        match parse(text.as_bytes()) {
            Head::Complete { length, request } => {
                assert_eq!(length, text.len(), "{text:?}");
                request
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn status(text: &str) -> u16 {
        match parse(text.as_bytes()) {
            Head::Refused(refusal) => refusal.status,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_request_in_all_its_parts() {
        let request =
            complete("GET /api/ws/info?a=1?b HTTP/1.1\r\nHost: a:1\r\nX-a:  1 \r\nx-A: 2\r\n\r\n");
        assert_eq!(request.method(), "GET");
        assert_eq!(request.path(), "/api/ws/info");
        assert_eq!(request.query(), Some("a=1?b"));
        assert_eq!(request.host(), Some("a:1"));
        assert_eq!(request.values("X-A").collect::<Vec<_>>(), ["1", "2"]);
        assert!(request.has("x-a") && !request.has("x-b"));
        assert!(request.single("x-a").is_err());
        assert_eq!(request.single("HOST").unwrap(), Some("a:1"));
        assert!(request.is_http_11() && request.keep_alive() && !request.has_body());
    }

    #[test]
    fn only_spaces_and_tabs_are_trimmed() {
        let request = complete(
            "GET / HTTP/1.1\r\nHost: a\r\nOrigin:\t https://a \t\r\nConnection: \u{a0}close,\tx\t\r\n\
             X: b\u{3000}\r\n\r\n",
        );
        assert_eq!(request.single("origin").unwrap(), Some("https://a"));
        assert!(request.lists("connection", "x") && !request.lists("connection", "close"));
        assert_eq!(request.values("x").collect::<Vec<_>>(), ["b\u{3000}"]);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\u{a0}\r\n\r\n"), 400);
    }

    #[test]
    fn the_length_ends_before_what_follows() {
        match parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\x81\x80") {
            Head::Complete { length, .. } => assert_eq!(length, 27),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn absolute_targets_name_the_host() {
        let request = complete("GET HTTP://B.example?x HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(request.host(), Some("B.example"));
        assert_eq!((request.path(), request.query()), ("/", Some("x")));
        assert_eq!(
            complete("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path(),
            "*"
        );
        assert_eq!(status("GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
        assert_eq!(status("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
        assert_eq!(status("GET api/ws HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    }

    #[test]
    fn keep_alive_by_version_and_connection() {
        for (version, connection, expected) in [
            ("1.1", "Upgrade", true),
            ("1.1", "keep-alive", true),
            ("1.1", "Upgrade, Close", false),
            ("1.0", "Upgrade", false),
            ("1.0", "Keep-Alive", true),
            ("1.0", "keep-alive, close", false),
        ] {
            let text =
                format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: {connection}\r\n\r\n");
            assert_eq!(complete(&text).keep_alive(), expected, "{text:?}");
        }
        assert!(!complete("GET / HTTP/1.0\r\n\r\n").keep_alive());
    }

    #[test]
    fn bodies() {
        let head = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let text = head("Content-Length: 17\r\n");
        assert_eq!(complete(&text).content_length(), Some(17));
        assert!(complete(&text).has_body());
        assert!(!complete(&head("Content-Length: 0\r\n")).has_body());
        let text = head("Transfer-Encoding: Chunked\r\n");
        assert!(complete(&text).has_body() && complete(&text).content_length().is_none());
    }

    #[test]
    fn a_body_is_taken_whole_and_within_its_bound() {
        let head = |line: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
        let text = head("Content-Length: 3");
        let request = complete(&text);
        assert_eq!(request.body(b"ab", 3).unwrap(), None);
        assert_eq!(request.body(b"abcd", 3).unwrap(), Some(&b"abc"[..]));
        assert_eq!(request.body(b"abcd", 2).unwrap_err().status, 413);
        let text = head("Transfer-Encoding: chunked");
        assert_eq!(complete(&text).body(b"", 3).unwrap_err().status, 411);
        let text = head("Accept: a");
        assert_eq!(complete(&text).body(b"ab", 3).unwrap(), Some(&b""[..]));
    }

    #[test]
    fn what_requests_are_smuggled_with_is_refused() {
        for lines in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding : chunked\r\n",
            "X: a\r\n b\r\n",
            "Host: b\r\n",
        ] {
            assert_eq!(
                status(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")),
                400,
                "{lines:?}"
            );
        }
        assert_eq!(
            status("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            400
        );
    }

    #[test]
    fn lines_end_with_cr_lf() {
        for text in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: b\nContent-Length: 5\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: b\rContent-Length: 5\r\n\r\n",
        ] {
            assert_eq!(status(text), 400, "{text:?}");
        }
        // An empty line may come before a request (section 2.2).
        complete("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }

    #[test]
    fn malformed_requests() {
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nna me: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "\u{16}\u{3}\u{1}\u{2}",
        ] {
            assert_eq!(status(text), 400, "{text:?}");
        }
    }

    #[test]
    fn a_head_is_bounded_in_bytes_and_lines() {
        let sized = |size: usize| {
            let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
            frame.replace("X: ", &format!("X: {}", "x".repeat(size - frame.len())))
        };
        complete(&sized(HEAD_BYTES_MAX));
        assert_eq!(status(&sized(HEAD_BYTES_MAX + 1)), 431);
        assert!(matches!(
            parse(&sized(HEAD_BYTES_MAX + 1).as_bytes()[..HEAD_BYTES_MAX - 1]),
            Head::Partial
        ));
        assert_eq!(status(&sized(HEAD_BYTES_MAX + 1)[..HEAD_BYTES_MAX]), 431);

        let lined = |count: usize| {
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "X: 1\r\n".repeat(count - 1)
            )
        };
        complete(&lined(HEADERS_MAX));
        assert_eq!(status(&lined(HEADERS_MAX + 1)), 431);
    }

    #[test]
    fn a_header_that_is_no_text_matches_nothing() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX: \xFF\r\n\r\n";
        match parse(bytes) {
            Head::Complete { request, .. } => {
                assert_eq!(request.single("x").unwrap(), Some("\u{FFFD}"));
            }
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let mut text = b"GET /a HTTP/1.1\r\nHost: a\r\n".to_vec();
            text.extend_from_slice(&bytes);
            let _ = parse(&text);
        }

        #[test]
        fn a_head_that_is_cut_anywhere_is_partial(cut in 0usize..59) {
            let text = "GET /api/ws HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Version: 13\r\n\r\n";
            prop_assert_eq!(text.len(), 60);
            prop_assert!(matches!(parse(&text.as_bytes()[..cut]), Head::Partial));
        }
    }
}
