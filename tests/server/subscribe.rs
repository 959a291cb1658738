//! Subscribing, unsubscribing, and what unreadable or misplaced messages are answered.

use serde_json::{Value, json};

use crate::harness::client::assert_error;
use crate::harness::examples::{EXAMPLES, event};
use crate::harness::model::namespace_of;
use crate::harness::{Fence, Server};

fn subscribe(data: Value) -> Value {
    json!({"type": "subscribe", "data": data})
}

fn sorted(list: &Value) -> Vec<String> {
    let mut names: Vec<String> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn subscriptions_add_up_and_are_told_whole() {
    let server = Server::start();
    let mut admin = server.user("root", "admin");
    let first = admin.subscribe(&["orders"]);
    assert_eq!(sorted(&first["namespaces"]), ["orders"]);
    assert!(
        first["position"].as_str().is_some_and(|id| !id.is_empty()),
        "a position on an empty server too: {first}"
    );
    assert_eq!(
        first.get("online"),
        None,
        "only where customers was asked for: {first}"
    );
    assert_eq!(
        first.get("recovered"),
        None,
        "only where since was given: {first}"
    );
    let second = admin.subscribe_with(json!({"namespace": "payments"}));
    assert_eq!(sorted(&second["namespaces"]), ["orders", "payments"]);
    let third = admin.subscribe(&["orders", "customers", "orders"]);
    assert_eq!(
        sorted(&third["namespaces"]),
        ["customers", "orders", "payments"]
    );
    assert_eq!(third["online"], 0);
    let left =
        admin.ask(&json!({"type": "unsubscribe", "data": {"namespaces": ["orders", "system"]}}));
    assert_eq!(left["type"], "unsubscribed");
    assert_eq!(
        sorted(&left["data"]["namespaces"]),
        ["customers", "payments"]
    );
    let left = admin.ask(&json!({"type": "unsubscribe", "data": {"namespace": "customers"}}));
    assert_eq!(sorted(&left["data"]["namespaces"]), ["payments"]);
}

#[test]
fn the_position_moves_with_the_events() {
    let server = Server::start();
    let mut public = server.public();
    let before = public.subscribe(&["products"])["position"].clone();
    let mut emitter = server.emitter();
    let id = emitter.emit(&event("product:created"));
    assert_eq!(public.expect_event("product:created")["id"], id.as_str());
    let after = public.subscribe(&["products"])["position"].clone();
    assert_ne!(before, after);
    assert_eq!(after, id.as_str(), "all that came before has been seen");
}

#[test]
fn since_is_answered_with_whether_all_was_recovered() {
    let server = Server::start();
    let mut public = server.public();
    let position = public.subscribe(&["products"])["position"].clone();
    server.emitter().emit(&event("product:created"));
    public.expect_event("product:created");
    for unknown in ["nonsense", "", "ffffffffffffffff-1"] {
        let answer = public.ask(&subscribe(
            json!({"namespaces": ["products"], "since": unknown}),
        ));
        assert_eq!(
            answer["data"]["recovered"], false,
            "since {unknown:?}: {answer}"
        );
    }
    let mut back = server.public();
    let answer = back.ask(&subscribe(
        json!({"namespaces": ["products"], "since": position}),
    ));
    // Either it is told that it has to reload, or what it missed comes: never neither.
    match answer["data"]["recovered"].as_bool() {
        Some(true) => assert_eq!(back.next()["type"], "product:created"),
        Some(false) => Fence::raise(&mut server.emitter()).nothing_before(&mut back),
        None => panic!("no answer about the past: {answer}"),
    }
}

#[test]
fn unsubscribed_means_nothing_more_comes() {
    let server = Server::start();
    let mut admin = server.user("root", "admin");
    admin.subscribe(&["orders", "products"]);
    let mut emitter = server.emitter();
    emitter.emit(&event("order:created"));
    admin.expect_event("order:created");
    admin.ask(&json!({"type": "unsubscribe", "data": {"namespaces": ["orders"]}}));
    emitter.emit(&event("order:created"));
    Fence::raise(&mut emitter).nothing_before(&mut admin);
}

#[test]
fn nothing_comes_to_those_who_subscribed_to_nothing() {
    let server = Server::start();
    let mut admin = server.user("root", "admin");
    let mut emitter = server.emitter();
    for (kind, _) in EXAMPLES {
        emitter.emit(&event(kind));
    }
    admin.subscribe(&["products"]);
    Fence::raise(&mut emitter).nothing_before(&mut admin);
}

#[test]
fn events_narrow_the_namespaces_they_name_types_of() {
    let server = Server::start();
    let mut admin = server.user("root", "admin");
    let mut emitter = server.emitter();
    let mut comes = |admin: &mut crate::harness::Client| -> Vec<String> {
        for (kind, _) in EXAMPLES {
            emitter.emit(&event(kind));
        }
        let fence = Fence::raise(&mut emitter);
        fence
            .before(admin)
            .iter()
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect()
    };
    let all_of = |namespaces: &[&str]| -> Vec<String> {
        EXAMPLES
            .iter()
            .map(|(kind, _)| (*kind).to_owned())
            .filter(|kind| namespaces.contains(&namespace_of(kind)))
            .collect()
    };
    admin.subscribe_with(
        json!({"namespaces": ["orders", "products"], "events": ["order:deleted", "order:created"]}),
    );
    let mut expected = vec!["order:created".to_owned(), "order:deleted".to_owned()];
    expected.extend(all_of(&["products"]));
    assert_eq!(comes(&mut admin), expected);
    // Another namespace's filter is its own.
    admin.subscribe_with(json!({"namespaces": ["system"], "events": ["system:alert"]}));
    let mut with_alert = expected.clone();
    with_alert.push("system:alert".to_owned());
    assert_eq!(comes(&mut admin), with_alert);
    // A later subscribe replaces the filter; none means all.
    admin.subscribe_with(json!({"namespaces": ["orders"], "events": ["order:updated"]}));
    assert_eq!(comes(&mut admin)[0], "order:updated");
    admin.subscribe(&["orders"]);
    let mut whole = all_of(&["orders", "products"]);
    whole.push("system:alert".to_owned());
    assert_eq!(comes(&mut admin), whole);
    // An empty list narrows nothing, or is refused: but it must not silence the namespace.
    admin.ask(&subscribe(json!({"namespaces": ["orders"], "events": []})));
    assert_eq!(comes(&mut admin), whole);
}

#[test]
fn a_refused_subscribe_changes_nothing() {
    let server = Server::start();
    let mut guest = server.user("gus", "guest");
    for (data, code) in [
        (json!({"namespaces": ["products", "orders"]}), "forbidden"),
        (
            json!({"namespaces": ["products", "shelves"]}),
            "invalid_message",
        ),
        (
            json!({"namespaces": ["products"], "events": ["order:created"]}),
            "invalid_message",
        ),
    ] {
        let error = guest.ask_refused(&subscribe(data), code);
        assert_eq!(error["request"], "subscribe");
    }
    let mut emitter = server.emitter();
    emitter.emit(&event("product:created"));
    guest.subscribe(&["products"]);
    Fence::raise(&mut emitter).nothing_before(&mut guest);
    // Nor does it take away or re-filter what there was.
    guest.subscribe_with(
        json!({"namespaces": ["products"], "events": ["product:deleted", "product:created"]}),
    );
    guest.ask_refused(
        &subscribe(json!({"namespaces": ["products", "system"], "events": ["product:updated"]})),
        "forbidden",
    );
    let id = emitter.emit(&event("product:created"));
    emitter.emit(&event("product:updated"));
    let got = Fence::raise(&mut emitter).before(&mut guest);
    assert_eq!(
        got.iter()
            .map(|event| event["id"].as_str().unwrap())
            .collect::<Vec<_>>(),
        [id.as_str()]
    );
}

#[test]
fn subscribe_has_its_errors_one_by_one() {
    let server = Server::start();
    let mut customer = server.user("ann", "customer");
    let mut public = server.public();
    for data in [
        json!({}),
        json!({"namespaces": []}),
        json!({"namespaces": "orders"}),
        json!({"namespaces": [7]}),
        json!({"namespaces": {"orders": true}}),
        json!({"namespaces": null}),
        json!({"namespaces": ["shelves"]}),
        json!({"namespaces": ["Orders"]}),
        json!({"namespaces": ["order"]}),
        json!({"namespaces": [""]}),
        json!({"namespace": 7}),
        json!({"namespace": ["orders"]}),
        json!({"namespaces": ["orders"], "events": "order:created"}),
        json!({"namespaces": ["orders"], "events": [7]}),
        json!({"namespaces": ["orders"], "events": ["payment:failed"]}),
        json!({"namespaces": ["orders"], "since": 7}),
        json!({"namespaces": ["orders"], "last": 0}),
        json!({"namespaces": ["orders"], "last": 1001}),
        json!({"namespaces": ["orders"], "last": "5"}),
        json!({"namespaces": ["orders"], "last": 1.5}),
    ] {
        let error = customer.ask_refused(&subscribe(data), "invalid_message");
        assert_eq!(error["request"], "subscribe");
    }
    for namespace in ["customers", "inventory", "system"] {
        customer.ask_refused(&subscribe(json!({"namespaces": [namespace]})), "forbidden");
    }
    for namespace in ["orders", "customers", "inventory", "payments", "system"] {
        public.ask_refused(
            &subscribe(json!({"namespaces": [namespace]})),
            "unauthorized",
        );
    }
    public.ask_refused(
        &subscribe(json!({"namespaces": ["products", "orders"]})),
        "unauthorized",
    );
    let unknown = customer.ask(&subscribe(
        json!({"namespaces": ["orders"], "events": ["order:eaten"]}),
    ));
    let code = unknown["data"]["code"].as_str().unwrap_or_default();
    assert!(
        matches!(code, "invalid_message" | "unknown_type"),
        "{unknown}"
    );
    assert_eq!(
        sorted(&customer.subscribe(&["products"])["namespaces"]),
        ["products"],
        "none of it took effect"
    );
}

#[test]
fn unsubscribe_has_its_errors_and_forgives_what_is_not_subscribed() {
    let server = Server::start();
    let mut public = server.public();
    public.subscribe(&["products"]);
    for data in [
        json!({}),
        json!({"namespaces": []}),
        json!({"namespaces": "products"}),
        json!({"namespaces": ["shelves"]}),
    ] {
        let question = json!({"type": "unsubscribe", "data": data});
        let error = public.ask_refused(&question, "invalid_message");
        assert_eq!(error["request"], "unsubscribe");
    }
    let answer = public.ask(&json!({"type": "unsubscribe", "data": {"namespaces": ["orders"]}}));
    assert_eq!(answer["data"]["namespaces"], json!(["products"]));
    for _ in 0..2 {
        let answer =
            public.ask(&json!({"type": "unsubscribe", "data": {"namespaces": ["products"]}}));
        assert_eq!(
            (&answer["type"], &answer["data"]["namespaces"]),
            (&json!("unsubscribed"), &json!([]))
        );
    }
}

#[test]
fn unreadable_messages_are_answered_without_a_request() {
    let server = Server::start();
    let mut client = server.user("ann", "customer");
    for text in [
        "",
        " ",
        "hello",
        "[]",
        "null",
        "7",
        "\"ping\"",
        "{",
        "{}",
        r#"{"type":7}"#,
        r#"{"type":null}"#,
        r#"{"data":{}}"#,
        "{\"type\":\"ping\"} x",
        "{\"type\":\"ping\"}{\"type\":\"ping\"}",
        &"[".repeat(5000),
    ] {
        client.send_text(text);
        let answer = client.answer();
        assert_error(&answer, "invalid_message", text);
        assert_eq!(answer["data"].get("request"), None, "{text}: {answer}");
    }
    client.ping();
}

#[test]
fn unknown_and_misplaced_types_have_their_codes() {
    let server = Server::start();
    let mut client = server.user("ann", "customer");
    for kind in [
        "",
        "Ping",
        "publish",
        "welcome2",
        "order",
        "orders",
        "order:eaten",
    ] {
        client.ask_refused(&json!({"type": kind, "data": {}}), "unknown_type");
    }
    for kind in ["subscribe", "unsubscribe", "auth"] {
        for message in [
            json!({"type": kind}),
            json!({"type": kind, "data": null}),
            json!({"type": kind, "data": []}),
            json!({"type": kind, "data": "x"}),
        ] {
            let error = client.ask_refused(&message, "invalid_message");
            assert_eq!(error["request"], kind);
        }
    }
}

#[test]
fn pong_tells_the_servers_time() {
    let server = Server::start();
    let mut public = server.public();
    let before = crate::harness::tokens::now_ms();
    let pong = public.ask(&json!({"type": "ping"}));
    let time = pong["timestamp"].as_u64().unwrap();
    assert!(
        (before..=crate::harness::tokens::now_ms()).contains(&time),
        "{pong}"
    );
}

#[test]
fn answers_keep_the_order_of_the_questions() {
    let server = Server::start();
    let mut admin = server.user("root", "admin");
    let mut expected = Vec::new();
    for n in 0..15 {
        admin.send(&json!({"type": "ping"}));
        admin.send(&subscribe(json!({"namespaces": ["orders"]})));
        admin.send(&subscribe(json!({"namespaces": ["shelves"]})));
        admin.send_text(&format!("{n}"));
        admin.send(&json!({"type": "unsubscribe", "data": {"namespaces": ["orders"]}}));
        expected.extend(["pong", "subscribed", "error", "error", "unsubscribed"]);
    }
    for (at, kind) in expected.iter().enumerate() {
        assert_eq!(admin.next()["type"], *kind, "answer {at}");
    }
}
