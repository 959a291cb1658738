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
mod tests;
