//! How much one client may ask.

use serde_json::{Value, json};

use crate::harness::client::Incoming;
use crate::harness::{Client, Ending, Server};

#[test]
fn messages_over_the_rate_are_refused_and_say_when_to_come_back() {
    let server = Server::with(&["--message-rate", "5"]);
    let mut client = server.public();
    for _ in 0..5 {
        client.ping();
    }
    let error = client.ask_refused(&json!({"type": "ping"}), "rate_limited");
    let after = error["retryAfter"].as_u64().unwrap();
    // Five a minute, refilled evenly: one every 12 s.
    assert!((1..=12_000).contains(&after), "{error}");
    assert_eq!(error["request"], "ping");
    // Another connection has a bucket of its own.
    server.public().ping();
}

#[test]
fn what_is_refused_counts_as_well() {
    let server = Server::with(&["--message-rate", "4"]);
    let mut client = server.public();
    client.send_text("not json");
    client.send(&json!({"type": "nonsense"}));
    client.send(&json!({"type": "subscribe", "data": {"namespaces": ["orders"]}}));
    client.send(&json!({"type": "ping"}));
    client.send(&json!({"type": "ping"}));
    for code in ["invalid_message", "unknown_type", "unauthorized"] {
        assert_eq!(client.next()["data"]["code"], code);
    }
    client.expect("pong");
    assert_eq!(client.next()["data"]["code"], "rate_limited");
}

#[test]
fn a_bucket_refills_evenly() {
    let server = Server::with(&["--message-rate", "600"]);
    let mut client = server.public();
    let after = loop {
        let answer = client.ask(&json!({"type": "ping"}));
        if answer["type"] == "error" {
            break answer["data"]["retryAfter"].as_u64().unwrap();
        }
    };
    // Ten a second: a tenth of a second later there is one again.
    assert!(after <= 100, "retryAfter {after}");
    crate::harness::wait_until("one is taken again", || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        client.ask(&json!({"type": "ping"}))["type"] == "pong"
    });
}

#[test]
fn a_flood_is_closed_with_4429() {
    let server = Server::with(&["--message-rate", "5"]);
    let mut client = server.public();
    for _ in 0..40 {
        // The server may close while this is still being sent.
        if client
            .socket
            .send(tungstenite::Message::text(r#"{"type":"ping"}"#))
            .is_err()
        {
            break;
        }
    }
    let messages = client.expect_close(4429);
    let kinds = |kind: &str| {
        messages
            .iter()
            .filter(|message| message["type"] == kind)
            .count()
    };
    assert_eq!(kinds("pong"), 5, "{messages:?}");
    assert!(
        (19..=21).contains(&kinds("error")),
        "after 20 refusals, the least there may be: {messages:?}"
    );
}

#[test]
fn a_greater_rate_needs_more_refusals() {
    let server = Server::with(&["--message-rate", "30"]);
    let mut client = server.public();
    for _ in 0..80 {
        if client.socket.send(tungstenite::Message::text("x")).is_err() {
            break;
        }
    }
    let messages = client.expect_close(4429);
    let refused = messages
        .iter()
        .filter(|message| message["data"]["code"] == "rate_limited")
        .count();
    assert!((29..=31).contains(&refused), "{refused} refusals");
}

#[test]
fn control_frames_have_ten_times_as_much_and_no_answer_beyond() {
    let server = Server::with(&["--message-rate", "2"]);
    let mut client = server.public();
    for _ in 0..20 {
        client
            .socket
            .send(tungstenite::Message::Ping("x".into()))
            .unwrap();
        assert!(matches!(client.read(), Incoming::Pong));
    }
    // The data messages' own bucket is still full.
    client.ping();
    for _ in 0..60 {
        if client
            .socket
            .send(tungstenite::Message::Ping("x".into()))
            .is_err()
        {
            break;
        }
    }
    let mut pongs = 0;
    loop {
        match client.read() {
            Incoming::Pong => pongs += 1,
            Incoming::End(ending) => {
                assert_eq!(ending, Ending::Closed(4429));
                break;
            }
            other => panic!("no answer was expected, but {other:?}"),
        }
    }
    assert!(pongs <= 1, "{pongs} pongs beyond the bucket");
}

#[test]
fn a_rate_of_0_is_off() {
    let server = Server::with(&["--message-rate", "0"]);
    let mut client = server.public();
    for _ in 0..1000 {
        client.send(&json!({"type": "ping"}));
    }
    for _ in 0..1000 {
        client.expect("pong");
    }
}

#[test]
fn the_default_rate_is_100_a_minute() {
    let server = Server::start();
    let mut client = server.user("ann", "customer");
    for _ in 0..100 {
        client.ping();
    }
    // A token may have refilled in between: one or two more may pass.
    let more: Vec<Value> = (0..5)
        .map(|_| client.ask(&json!({"type": "ping"})))
        .collect();
    assert!(
        more.iter()
            .any(|answer| answer["data"]["code"] == "rate_limited"),
        "{more:?}"
    );
}

#[test]
fn events_to_a_client_never_count() {
    let server = Server::with(&["--message-rate", "1"]);
    let mut client: Client = server.public();
    client.subscribe(&["products"]);
    let mut emitter = server.emitter();
    for n in 0..200 {
        let id =
            emitter.emit(&json!({"type": "product:deleted", "data": {"productId": n.to_string()}}));
        assert_eq!(client.expect_event("product:deleted")["id"], id.as_str());
    }
}
