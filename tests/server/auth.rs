//! Tokens: the three ways in, the claims, refreshing, and their end.

use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::harness::client::assert_error;
use crate::harness::examples::{about, event};
use crate::harness::tokens::{
    SECRET, ending_in, now_ms, now_seconds, of, signed, signed_by, with_session,
};
use crate::harness::{Client, Fence, Opening, Server, Setup};

#[test]
fn a_token_gets_in_by_header_subprotocol_or_message() {
    let server = Server::with(&["--ping-interval", "1234"]);
    let exp = now_seconds() + 3600;
    let token = signed(&json!({"sub": "ann", "role": "customer", "sid": "s-1", "exp": exp}));
    let expected =
        json!({"userId": "ann", "role": "customer", "sessionId": "s-1", "expiresAt": exp * 1000});
    let by_header = Client::connect(&server, Opening::new().bearer(&token));
    assert_eq!(by_header.authenticated.as_ref().unwrap()["data"], expected);
    let by_protocol = Client::connect(&server, Opening::new().subprotocol(&token));
    assert_eq!(
        by_protocol.authenticated.as_ref().unwrap()["data"],
        expected
    );
    assert_eq!(
        by_protocol.response.headers()["sec-websocket-protocol"],
        "shopwire.v1"
    );
    let mut by_message = server.public();
    assert_eq!(by_message.auth(&token)["data"], expected);
    for client in [by_header, by_protocol, by_message] {
        let welcome = &client.welcome["data"];
        assert!(
            welcome["server"].as_str().unwrap().starts_with("shopwire/"),
            "{welcome}"
        );
        assert_eq!(welcome["pingInterval"], 1234, "{welcome}");
        assert!(!client.connection_id().is_empty());
    }
    let without_session = server.user("bob", "staff");
    assert_eq!(
        without_session.authenticated.unwrap()["data"]["sessionId"],
        Value::Null
    );
}

#[test]
fn connection_ids_are_never_the_same() {
    let server = Server::start();
    let mut ids: Vec<String> = (0..40).map(|_| server.public().connection_id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 40);
}

#[test]
fn claims_are_judged_one_by_one() {
    let server = Server::start();
    let exp = now_seconds() + 600;
    let good = json!({"sub": "ann", "role": "customer", "exp": exp});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    for claims in [
        good.clone(),
        json!({"userId": "ann", "role": "customer", "exp": exp}),
        with("userId", json!("ann")),
        with("sid", json!("s")),
        with("sessionId", json!("s")),
        json!({"sub": "ann", "sid": "s", "sessionId": "s", "role": "guest", "exp": exp}),
        with("nbf", json!(now_seconds() - 5)),
        with("sub", json!("😀".repeat(128))),
        with("aud", json!("somewhere")),
        with("iss", json!("someone")),
        with("extra", json!({"deep": [1]})),
    ] {
        let opened = Client::try_connect(server.address, Opening::new().bearer(&signed(&claims)));
        assert!(opened.is_ok(), "{claims} should be let in");
    }
    for claims in [
        without("sub"),
        without("role"),
        without("exp"),
        with("userId", json!("bob")),
        json!({"sub": "ann", "sid": "s", "sessionId": "t", "role": "customer", "exp": exp}),
        with("role", json!("king")),
        with("role", json!("Admin")),
        with("role", json!("public")),
        with("role", json!(["admin"])),
        with("role", json!("")),
        with("sub", json!("")),
        with("sub", json!(7)),
        with("sub", json!("x".repeat(129))),
        with("sub", json!("a\nb")),
        with("sid", json!("")),
        with("sid", json!(7)),
        with("sid", json!("x".repeat(129))),
        with("exp", json!(now_seconds() - 1)),
        with("exp", json!("tomorrow")),
        with("exp", json!(-1)),
        with("nbf", json!(now_seconds() + 60)),
        with("nbf", json!("x")),
    ] {
        let opened = Client::try_connect(server.address, Opening::new().bearer(&signed(&claims)));
        assert_eq!(opened.err(), Some(401), "{claims} should be refused");
    }
}

#[test]
fn only_the_configured_key_and_its_algorithms_count() {
    let server = Server::start();
    let claims = json!({"sub": "ann", "role": "admin", "exp": now_seconds() + 600});
    let status =
        |token: &str| Client::try_connect(server.address, Opening::new().bearer(token)).err();
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        assert_eq!(
            status(&signed_by(&claims, algorithm, SECRET)),
            None,
            "{algorithm:?}"
        );
    }
    let good = signed(&claims);
    let parts: Vec<&str> = good.split('.').collect();
    let base64 = |text: &str| crate::keys::base64url_of(text.as_bytes());
    let none = format!("{}.{}.", base64(r#"{"alg":"none","typ":"JWT"}"#), parts[1]);
    let none_signed = format!("{}.{}.{}", base64(r#"{"alg":"none"}"#), parts[1], parts[2]);
    let rs_claimed = format!("{}.{}.{}", base64(r#"{"alg":"RS256"}"#), parts[1], parts[2]);
    let other_claims = format!(
        "{}.{}.{}",
        parts[0],
        base64(r#"{"sub":"bob","role":"admin","exp":9999999999}"#),
        parts[2]
    );
    for token in [
        signed_by(
            &claims,
            Algorithm::HS256,
            "another-secret-that-is-long-enough-too",
        ),
        none,
        none_signed,
        rs_claimed,
        other_claims,
        format!("{}.{}", parts[0], parts[1]),
        format!("{good}.x"),
        good[..good.len() - 2].to_owned(),
        String::from(".."),
        "x".repeat(7000),
    ] {
        assert_eq!(status(&token), Some(401), "{token}");
    }
}

#[test]
fn issuer_and_audience_are_checked_when_configured() {
    let server = Server::with(&["--jwt-issuer", "the-shop", "--jwt-audience", "live"]);
    let claims = |issuer: Value, audience: Value| {
        let mut claims = json!({"sub": "ann", "role": "customer", "exp": now_seconds() + 600});
        for (name, value) in [("iss", issuer), ("aud", audience)] {
            if !value.is_null() {
                claims[name] = value;
            }
        }
        claims
    };
    for (issuer, audience, expected) in [
        (json!("the-shop"), json!("live"), None),
        (json!("the-shop"), json!(["other", "live"]), None),
        (json!("another"), json!("live"), Some(401)),
        (json!("the-shop"), json!("other"), Some(401)),
        (json!("the-shop"), json!([]), Some(401)),
        (Value::Null, json!("live"), Some(401)),
        (json!("the-shop"), Value::Null, Some(401)),
    ] {
        let claims = claims(issuer, audience);
        let opened = Client::try_connect(server.address, Opening::new().bearer(&signed(&claims)));
        assert_eq!(opened.err(), expected, "{claims}");
    }
}

#[test]
fn a_first_token_that_is_refused_ends_the_connection() {
    let server = Server::start();
    for (token, code) in [
        ("nonsense".to_owned(), "unauthorized"),
        (ending_in("ann", "customer", -5), "token_expired"),
    ] {
        let mut client = server.public();
        let answer = client.auth(&token);
        assert_error(&answer, code, &token);
        assert_eq!(answer["data"]["request"], "auth");
        assert_eq!(client.expect_close(4401), Vec::<Value>::new());
    }
    // What is no token at all is no attempt to show one.
    let mut client = server.public();
    for bad in [
        json!({"type": "auth"}),
        json!({"type": "auth", "data": {}}),
        json!({"type": "auth", "data": {"token": 7}}),
        json!({"type": "auth", "data": "x"}),
    ] {
        let error = client.ask_refused(&bad, "invalid_message");
        assert_eq!(error["request"], "auth");
    }
    client.ping();
}

#[test]
fn a_refresh_that_is_refused_leaves_the_old_token_in_force() {
    let server = Server::start();
    let mut client = server.user("ann", "customer");
    client.subscribe(&["orders"]);
    for (token, code) in [
        (of("bob", "customer"), "unauthorized"),
        (of("bob", "admin"), "unauthorized"),
        ("nonsense".to_owned(), "unauthorized"),
        (ending_in("ann", "customer", -5), "token_expired"),
    ] {
        let answer = client.auth(&token);
        assert_error(&answer, code, &token);
    }
    let mut emitter = server.emitter();
    let id = emitter.emit(&about("order:created", "ann"));
    assert_eq!(client.expect_event("order:created")["id"], id.as_str());
}

#[test]
fn a_refresh_with_another_role_takes_effect_at_once() {
    let server = Server::start();
    let mut client = server.user("sam", "admin");
    client.subscribe(&["orders", "products", "system", "payments"]);
    assert_eq!(client.auth(&of("sam", "staff"))["type"], "authenticated");
    let dropped = client.expect("unsubscribed");
    let mut left: Vec<&str> = dropped["data"]["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    left.sort_unstable();
    assert_eq!(left, ["orders", "products"]);
    let mut emitter = server.emitter();
    emitter.emit(&event("system:alert"));
    emitter.emit(&event("payment:received"));
    let mut for_admins = about("order:created", "x");
    for_admins["to"] = json!({"roles": ["admin"]});
    emitter.emit(&for_admins);
    let mut for_staff = about("order:created", "x");
    for_staff["to"] = json!({"roles": ["staff"]});
    let id = emitter.emit(&for_staff);
    assert_eq!(client.expect_event("order:created")["id"], id.as_str());
    // From all to own: the namespace stays, what comes of it changes.
    assert_eq!(client.auth(&of("sam", "customer"))["type"], "authenticated");
    emitter.emit(&about("order:created", "x"));
    let own = emitter.emit(&about("order:created", "sam"));
    assert_eq!(
        client.expect_event("order:created")["id"],
        own.as_str(),
        "no `unsubscribed`: nothing was dropped"
    );
    // And up again.
    assert_eq!(client.auth(&of("sam", "admin"))["type"], "authenticated");
    let id = emitter.emit(&about("order:created", "x"));
    assert_eq!(client.expect_event("order:created")["id"], id.as_str());
}

#[test]
fn a_refresh_may_change_the_session() {
    let server = Server::start();
    let mut client = Client::connect(
        &server,
        Opening::new().bearer(&with_session("sam", "staff", "one")),
    );
    client.subscribe(&["orders", "products"]);
    let mut emitter = server.emitter();
    let without = |session: &str| {
        let mut event = event("order:created");
        event["to"] = json!({"excludeSessionId": session});
        event
    };
    emitter.emit(&without("one"));
    let id = emitter.emit(&without("two"));
    assert_eq!(client.expect_event("order:created")["id"], id.as_str());
    assert_eq!(
        client.auth(&with_session("sam", "staff", "two"))["data"]["sessionId"],
        "two"
    );
    emitter.emit(&without("two"));
    let id = emitter.emit(&without("one"));
    assert_eq!(client.expect_event("order:created")["id"], id.as_str());
}

#[test]
fn a_token_announces_its_end_and_ends_the_connection() {
    let server = Server::start();
    let token = ending_in("ann", "customer", 4);
    let shown = now_ms();
    let mut client = Client::connect(&server, Opening::new().bearer(&token));
    client.subscribe(&["products"]);
    let expires = client.authenticated.as_ref().unwrap()["data"]["expiresAt"]
        .as_u64()
        .unwrap();
    let expiring = client.expect("token:expiring");
    assert_eq!(expiring["data"]["expiresAt"], expires);
    // Less than 60 s are left, so it comes after half of what was left.
    let half = shown + (expires - shown) / 2;
    let announced = now_ms();
    assert!(
        (half - 300..half + 1500).contains(&announced),
        "announced {} ms after half time",
        announced as i64 - half as i64
    );
    client.expect_close(4401);
    let late = now_ms() as i64 - expires as i64;
    assert!(
        (-50..2000).contains(&late),
        "closed {late} ms after the end"
    );
}

#[test]
fn a_refresh_before_the_end_carries_on() {
    let server = Server::start();
    let mut client = Client::connect(
        &server,
        Opening::new().bearer(&ending_in("ann", "customer", 2)),
    );
    client.subscribe(&["products"]);
    assert_eq!(
        client.auth(&ending_in("ann", "customer", 5))["type"],
        "authenticated"
    );
    let started = Instant::now();
    let before = client.expect_close(4401);
    assert!(
        started.elapsed() > Duration::from_millis(2500),
        "the old token's end is no longer its own"
    );
    let kinds: Vec<&Value> = before.iter().map(|message| &message["type"]).collect();
    assert_eq!(kinds, ["token:expiring"], "announced once");
}

#[test]
fn the_leeway_counts_at_both_ends() {
    let server = Server::with(&["--jwt-leeway", "3s"]);
    let opened = Client::try_connect(
        server.address,
        Opening::new().bearer(&ending_in("ann", "customer", -30)),
    );
    assert_eq!(opened.err(), Some(401));
    let early = signed(
        &json!({"sub": "ann", "role": "customer", "exp": now_seconds() + 60, "nbf": now_seconds() + 2}),
    );
    assert!(Client::try_connect(server.address, Opening::new().bearer(&early)).is_ok());
    let mut client = Client::connect(
        &server,
        Opening::new().bearer(&ending_in("ann", "customer", -1)),
    );
    let expires = client.authenticated.as_ref().unwrap()["data"]["expiresAt"]
        .as_u64()
        .unwrap();
    client.expect_close(4401);
    let late = now_ms() as i64 - expires as i64;
    assert!(
        (2900..5500).contains(&late),
        "closed {late} ms after exp, with a leeway of 3000"
    );
}

#[test]
fn with_require_auth_a_public_connection_gets_nothing_and_is_closed() {
    let server = Server::with(&["--require-auth"]);
    let started = Instant::now();
    let mut silent = server.public();
    let mut late = server.public();
    late.ask_refused(
        &json!({"type": "subscribe", "data": {"namespaces": ["products"]}}),
        "unauthorized",
    );
    let mut emitter = server.emitter();
    emitter.emit(&event("product:created"));
    assert_eq!(
        late.auth(&of("ann", "customer"))["type"],
        "authenticated",
        "and no event before it"
    );
    late.subscribe(&["products"]);
    Fence::raise(&mut emitter).nothing_before(&mut late);
    // The client's own deadline is as long as the server's: ask again and again, which is no sign of a token.
    while started.elapsed() < Duration::from_secs(8) {
        silent.ping();
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(silent.expect_close(4401), Vec::<Value>::new());
    let took = started.elapsed();
    assert!(
        (9_500..13_000).contains(&took.as_millis()),
        "closed after {took:?}"
    );
    late.ping();
}

#[test]
fn the_secret_may_come_from_the_environment() {
    let server = Setup::new(&[])
        .without("--jwt-secret-file")
        .env("WS_JWT_SECRET", SECRET)
        .start();
    server.user("ann", "customer");
    assert!(
        !server.stderr().contains(SECRET),
        "a secret is never logged"
    );
}

#[test]
fn tokens_are_never_logged() {
    let server = Setup::new(&[]).env("RUST_LOG", "debug").start();
    let good = with_session("ann-the-customer", "customer", "session-of-ann");
    let bad = format!("{}x", of("bob-the-customer", "customer"));
    let mut client = Client::connect(&server, Opening::new().bearer(&good));
    client.auth(&bad);
    assert_eq!(
        Client::try_connect(server.address, Opening::new().bearer(&bad)).err(),
        Some(401)
    );
    client.ping();
    let log = server.stderr();
    for token in [&good, &bad] {
        let signature = token.rsplit('.').next().unwrap();
        assert!(!log.contains(signature), "a token in the log:\n{log}");
    }
}
