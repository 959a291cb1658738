//! Heads of requests, whole and broken.
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
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: {connection}\r\n\r\n");
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
