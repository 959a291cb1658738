//! The WebSocket opening handshake (RFC 6455 section 4.2) as far as the request alone decides it.
//!
//! Owns the checks on method, upgrade, version, key and sub-protocols, in the order in which the
//! contract answers them, and where a token may stand in a request. Called by the reactor for
//! `/api/ws`, after the path and before capacity, rate, origin and token are judged.

use super::request::{Request, malformed, trim_spaces};
use super::response::Refusal;

/// The sub-protocol this server speaks.
pub const PROTOCOL: &str = "shopwire.v1";

/// A handshake that is well formed.
#[derive(Debug, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// The client's key, to be answered.
    pub key: &'a str,
    /// The sub-protocol to answer with, if the client offered it.
    pub protocol: Option<&'static str>,
    /// The token that was offered as a sub-protocol, not judged.
    pub subprotocol_token: Option<&'a str>,
}

/// Checks a request for `/api/ws`: 405, then 426, then 400.
///
/// # Errors
/// The answer to send instead of 101.
pub fn check_upgrade<'a>(request: &Request<'a>) -> Result<Upgrade<'a>, Refusal> {
    if request.method() != "GET" {
        return Err(method_not_allowed(&[("Allow", "GET")]));
    }
    if !request.is_http_11()
        || !request.lists("connection", "upgrade")
        || !request.lists("upgrade", "websocket")
    {
        return Err(upgrade_required(
            "this address speaks WebSocket only: upgrade the connection",
        ));
    }
    if !request.values("sec-websocket-version").eq(["13"]) {
        return Err(upgrade_required("Sec-WebSocket-Version must be 13"));
    }
    if request.has_body() {
        return Err(malformed("a WebSocket handshake has no body"));
    }
    let key = request
        .single("sec-websocket-key")?
        .filter(|key| is_sixteen_bytes(key))
        .ok_or_else(|| {
            malformed("Sec-WebSocket-Key must be given once and be 16 bytes in base64")
        })?;
    let (protocol, subprotocol_token) = subprotocols(request)?;
    Ok(Upgrade {
        key,
        protocol,
        subprotocol_token,
    })
}

/// The token of the Authorization header, not judged; `None` where there is no such header.
///
/// # Errors
/// 401 where the header is something other than one Bearer token.
pub fn bearer<'a>(request: &Request<'a>) -> Result<Option<&'a str>, Refusal> {
    let mut values = request.values("authorization");
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = trim_spaces(token);
            if !token.is_empty() && !token.contains([' ', '\t']) && values.next().is_none() {
                return Ok(Some(token));
            }
        }
        _ => {}
    }
    Err(unauthorized(
        "Authorization must be given once, as: Bearer <token>",
    ))
}

/// A 401 answer.
pub fn unauthorized(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(401, "unauthorized", message).with_headers(&[("WWW-Authenticate", "Bearer")])
}

/// A 405 answer; `allow` is the Allow header that must go with it.
pub fn method_not_allowed(allow: &'static [(&'static str, &'static str)]) -> Refusal {
    Refusal::new(
        405,
        "method_not_allowed",
        "this method is not allowed here, see Allow",
    )
    .with_headers(allow)
}

fn upgrade_required(message: &'static str) -> Refusal {
    Refusal::new(426, "upgrade_required", message).with_headers(&[
        ("Upgrade", "websocket"),
        // Upgrade is a hop-by-hop header and must be named as one (RFC 9110 section 7.8).
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
    ])
}

/// Whether this is the base64 of 16 bytes: 22 digits and two padding characters.
fn is_sixteen_bytes(key: &str) -> bool {
    match key.as_bytes() {
        [digits @ .., b'=', b'='] => {
            digits.len() == 22
                && digits
                    .iter()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/'))
        }
        _ => false,
    }
}

type Subprotocols<'a> = (Option<&'static str>, Option<&'a str>);

fn subprotocols<'a>(request: &Request<'a>) -> Result<Subprotocols<'a>, Refusal> {
    let mut protocol = None;
    let mut token = None;
    for offer in request
        .values("sec-websocket-protocol")
        .flat_map(|value| value.split(','))
    {
        let offer = trim_spaces(offer);
        if offer == PROTOCOL {
            protocol = Some(PROTOCOL);
        } else if let Some(offered) = offer.strip_prefix("token.")
            && token.replace(offered).is_some()
        {
            return Err(malformed(
                "Sec-WebSocket-Protocol offers more than one token",
            ));
        }
    }
    if token.is_some() && protocol.is_none() {
        return Err(malformed(
            "a token in Sec-WebSocket-Protocol needs shopwire.v1 beside it, as: \
             shopwire.v1, token.<jwt>",
        ));
    }
    Ok((protocol, token))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::request::{Head, parse};

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn request(text: &str) -> Request<'_> {
        match parse(text.as_bytes()) {
            Head::Complete { request, .. } => request,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn with(lines: &str) -> String {
        format!("GET /api/ws?token=x HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
    }

    fn good() -> String {
        format!(
            "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {KEY}\r\n"
        )
    }

    fn status(text: &str) -> u16 {
        check_upgrade(&request(text)).unwrap_err().status
    }

    #[test]
    fn a_plain_handshake_and_no_token_from_the_url() {
        let text = with(&good());
        assert_eq!(
            check_upgrade(&request(&text)),
            Ok(Upgrade {
                key: KEY,
                protocol: None,
                subprotocol_token: None
            })
        );
        assert_eq!(bearer(&request(&text)), Ok(None));
    }

    #[test]
    fn refusals_stand_in_the_contracts_order() {
        // Everything is wrong at once; one thing after the other is put right.
        let refusal = check_upgrade(&request("POST / HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap_err();
        assert_eq!(
            (refusal.status, refusal.headers),
            (405, &[("Allow", "GET")][..])
        );
        let text = with("Sec-WebSocket-Protocol: token.a\r\n");
        let refusal = check_upgrade(&request(&text)).unwrap_err();
        assert_eq!(refusal.status, 426);
        assert!(refusal.headers.contains(&("Upgrade", "websocket")));
        assert!(refusal.headers.contains(&("Sec-WebSocket-Version", "13")));
        let text = good().replace(KEY, "short");
        assert_eq!(status(&with(&text.replace(": 13", ": 12"))), 426);
        assert_eq!(status(&with(&text)), 400);
        assert_eq!(
            status(&with(&(good() + "Sec-WebSocket-Protocol: token.a\r\n"))),
            400
        );
    }

    #[test]
    fn what_is_no_upgrade() {
        let good = good();
        for text in [
            with(&good.replace("keep-alive, Upgrade", "keep-alive")),
            with(&good.replace("WebSocket\r\n", "h2c\r\n")),
            with(&good.replace("Sec-WebSocket-Version: 13\r\n", "")),
            with(&good.replace("Version: 13", "Version: 013")),
            with(&good.replace("Version: 13", "Version: 8, 13")),
            with(&(good.clone() + "Sec-WebSocket-Version: 8\r\n")),
            with(&good).replace("HTTP/1.1", "HTTP/1.0"),
        ] {
            assert_eq!(status(&text), 426, "{text:?}");
        }
    }

    #[test]
    fn methods_other_than_get() {
        for method in ["HEAD", "POST", "OPTIONS", "get"] {
            let text = with(&good()).replacen("GET", method, 1);
            assert_eq!(status(&text), 405, "{method}");
        }
    }

    #[test]
    fn keys() {
        let good = good();
        for bad in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25jZQAA",
            "dGhlIHNhbXBsZSBub25j====",
            "dGhlIHNhbXBsZSBub25j-Q==",
            "dGhlIHNhbXBsZSBub25jZSE=",
        ] {
            assert_eq!(status(&with(&good.replace(KEY, bad))), 400, "{bad:?}");
        }
        assert_eq!(
            status(&with(
                &(good.clone() + "Sec-WebSocket-Key: " + KEY + "\r\n")
            )),
            400
        );
        assert_eq!(status(&with(&good.replace("Sec-WebSocket-Key", "X"))), 400);
        assert_eq!(status(&with(&(good + "Content-Length: 3\r\n"))), 400);
    }

    #[test]
    fn subprotocols_over_one_line_or_several() {
        for lines in [
            "Sec-WebSocket-Protocol: shopwire.v1, token.a.b.c\r\n",
            "Sec-WebSocket-Protocol: token.a.b.c,,shopwire.v1,graphql\r\n",
            "Sec-WebSocket-Protocol: token.a.b.c\r\nsec-websocket-protocol: shopwire.v1\r\n",
        ] {
            let text = with(&(good() + lines));
            let upgrade = check_upgrade(&request(&text)).unwrap();
            assert_eq!(upgrade.protocol, Some("shopwire.v1"), "{lines:?}");
            assert_eq!(upgrade.subprotocol_token, Some("a.b.c"), "{lines:?}");
        }
        let text = with(&(good() + "Sec-WebSocket-Protocol: chat, shopwire.v2\r\n"));
        assert_eq!(check_upgrade(&request(&text)).unwrap().protocol, None);
        let text = with(&(good() + "Sec-WebSocket-Protocol: shopwire.v1, token.a, token.b\r\n"));
        assert_eq!(status(&text), 400);
        let text = with(&(good() + "Sec-WebSocket-Protocol: SHOPWIRE.V1, token.a\r\n"));
        assert_eq!(status(&text), 400);
    }

    #[test]
    fn authorization() {
        let text = with("authorization: bEaRer   a.b.c\r\n");
        assert_eq!(bearer(&request(&text)), Ok(Some("a.b.c")));
        for lines in [
            "Authorization: Basic YTpi\r\n",
            "Authorization: Bearer\r\n",
            "Authorization: Bearer \r\n",
            "Authorization: a.b.c\r\n",
            "Authorization: Bearer a b\r\n",
            "Authorization:\r\n",
            "Authorization: Bearer a\r\nAuthorization: Bearer a\r\n",
        ] {
            let text = with(lines);
            let refusal = bearer(&request(&text)).unwrap_err();
            assert_eq!(refusal.status, 401, "{lines:?}");
            assert_eq!(refusal.headers, [("WWW-Authenticate", "Bearer")]);
        }
    }
}
