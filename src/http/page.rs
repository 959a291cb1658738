//! `GET /`: the live page, as its build left it (`client/page`, embedded by `embed_page.rs`).
//!
//! Pure: a request in, headers and a shared body out. Bytes are never copied for a client: what its
//! socket does not take waits as a reference. Without a built page, `/` says how to build it.

use bytes::Bytes;

use crate::wire::response::put_response;
use crate::wire::{Refusal, Request};

/// One file of the page.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static [u8],
    /// The same, compressed.
    gzip: Option<&'static [u8]>,
    /// Changes with the content. Weak, since it stands for both forms of it.
    etag: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Nothing but what this server serves: no inline script or style, no other host, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// Appends the head of the answer, if the request is for the page, and gives the body that follows.
/// `hsts` is a header of it where the browser came over TLS.
pub fn respond(
    request: &Request<'_>,
    hsts: Option<(&str, &str)>,
    keep_alive: bool,
    out: &mut Vec<u8>,
) -> Option<Result<Bytes, Refusal>> {
    let asset = ASSETS.iter().find(|asset| asset.path == request.path())?;
    let is_head = match request.method() {
        "GET" => false,
        "HEAD" => true,
        _ => {
            let refusal = crate::wire::handshake::method_not_allowed(&[("Allow", "GET, HEAD")]);
            return Some(Err(refusal));
        }
    };
    let mut headers = vec![
        ("Vary", "Origin, Accept-Encoding"),
        // It may have changed with the next version of the server.
        ("Cache-Control", "no-cache"),
        ("ETag", asset.etag),
        ("Content-Security-Policy", POLICY),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ];
    headers.extend(hsts);
    if is_known(request, asset.etag) {
        put_response(out, 304, &headers, "", b"", false, keep_alive);
        return Some(Ok(Bytes::new()));
    }
    let body = match asset.gzip.filter(|_| takes_gzip(request)) {
        Some(gzip) => {
            headers.push(("Content-Encoding", "gzip"));
            gzip
        }
        None => asset.body,
    };
    put_response(
        out,
        200,
        &headers,
        asset.content_type,
        body,
        true,
        keep_alive,
    );
    Some(Ok(match is_head {
        true => Bytes::new(),
        false => Bytes::from_static(body),
    }))
}

/// Whether the browser has it (If-None-Match, RFC 9110 section 13.1.2).
fn is_known(request: &Request<'_>, etag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    request
        .values("if-none-match")
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim() == "*" || bare(tag) == bare(etag))
}

/// Whether Accept-Encoding names gzip and does not exclude it by `q=0` (RFC 9110 section 12.5.3).
fn takes_gzip(request: &Request<'_>) -> bool {
    request
        .values("accept-encoding")
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let is_gzip = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let is_refused = parts.any(|part| {
                let quality = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
                quality.is_some_and(|number| number.parse() == Ok(0.0))
            });
            is_gzip && !is_refused
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::request::{Head, parse};

    fn with(line: &str, ask: impl Fn(&Request<'_>) -> bool) -> bool {
        match parse(format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n").as_bytes()) {
            Head::Complete { request, .. } => ask(&request),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        for (line, expected) in [
            ("Accept-Encoding: gzip", true),
            ("Accept-Encoding: br, GZIP;q=0.5", true),
            ("Accept-Encoding: br\r\nAccept-Encoding: gzip", true),
            ("Accept-Encoding: br", false),
            ("Accept-Encoding: gzip;q=0", false),
            ("Accept-Encoding: gzip; q=0.000", false),
            ("Accept-Encoding: x-gzip", false),
            ("Accept: gzip", false),
        ] {
            assert_eq!(with(line, takes_gzip), expected, "{line}");
        }
    }

    #[test]
    fn what_the_browser_has_is_not_sent_again() {
        let known = |request: &Request<'_>| is_known(request, "W/\"abc\"");
        for (line, expected) in [
            ("If-None-Match: W/\"abc\"", true),
            ("If-None-Match: \"abc\"", true),
            ("If-None-Match: \"x\", W/\"abc\"", true),
            ("If-None-Match: *", true),
            ("If-None-Match: \"x\"", false),
            ("If-None-Match: abc", false),
            ("If-Match: \"abc\"", false),
        ] {
            assert_eq!(with(line, known), expected, "{line}");
        }
    }

    #[test]
    fn every_asset_has_a_form_for_everybody_and_a_tag() {
        assert_eq!(ASSETS[0].path, "/");
        for asset in ASSETS {
            assert!(!asset.body.is_empty(), "{}", asset.path);
            assert!(asset.etag.starts_with("W/\"") && asset.etag.ends_with('"'));
            if let Some(gzip) = asset.gzip {
                assert!(gzip.starts_with(&[0x1f, 0x8b]), "{}", asset.path);
            }
        }
    }
}
