//! Customer events that a customer's own browser publishes.

use serde_json::{Value, json};

use crate::harness::examples::event;
use crate::harness::tokens::now_ms;
use crate::harness::{Client, Fence, Server};

fn staff(server: &Server) -> Client {
    let mut staff = server.user("sam", "staff");
    staff.subscribe_with(json!({
        "namespaces": ["customers", "products"],
        "events": ["customer:activity", "customer:viewing_product", "customer:added_to_cart", "product:deleted"],
    }));
    staff
}

fn viewing(data: Value) -> Value {
    json!({"type": "customer:viewing_product", "data": data})
}

#[test]
fn a_customers_own_events_reach_those_who_may_see_customers() {
    let server = Server::start();
    let mut staff = staff(&server);
    let mut ann = server.user("ann", "customer");
    let before = now_ms();
    ann.send(&json!({"type": "customer:activity", "data": {"action": "viewing", "extra": [1.50, "<b>"]}}));
    let got = staff.expect_event("customer:activity");
    assert_eq!(got["namespace"], "customers");
    assert_eq!(got["data"]["customerId"], "ann");
    assert_eq!(got["data"]["action"], "viewing");
    assert_eq!(got["data"]["extra"], json!([1.50, "<b>"]));
    let filled_in = got["data"]["timestamp"].as_u64().unwrap();
    assert!((before..=now_ms()).contains(&filled_in), "{got}");
    // Given ones are kept; nothing is filled in where the type has no timestamp.
    ann.send(&json!({"type": "customer:activity", "data": {"customerId": "ann", "action": "cart_add", "timestamp": 5}}));
    assert_eq!(
        staff.expect_event("customer:activity")["data"],
        json!({"customerId": "ann", "action": "cart_add", "timestamp": 5})
    );
    ann.send(&viewing(json!({"productId": "p", "productName": "n"})));
    assert_eq!(
        staff.expect_event("customer:viewing_product")["data"],
        json!({"customerId": "ann", "productId": "p", "productName": "n"})
    );
    ann.send(&json!({"type": "customer:added_to_cart", "data": {"productId": "p", "productName": "n", "quantity": 2}}));
    assert_eq!(
        staff.expect_event("customer:added_to_cart")["data"]["quantity"],
        2
    );
    // No answer on success: the next thing is the answer to a ping.
    ann.ping();
    assert_eq!(ann.ask(&json!({"type": "ping"}))["type"], "pong");
}

#[test]
fn one_whose_frame_would_be_too_large_is_refused_and_not_lost_unsaid() {
    let server = Server::with(&["--max-message=4096"]);
    let mut staff = staff(&server);
    let mut ann = server.user("ann", "customer");
    let of = |size: usize| viewing(json!({"productId": "p", "productName": "<".repeat(size)}));
    // Each is sent as an escape of six bytes.
    let refused = ann.ask(&of(900));
    assert_eq!(refused["type"], "error", "{refused}");
    assert_eq!(refused["data"]["code"], "too_large", "{refused}");
    ann.send(&of(700));
    let got = staff.expect_event("customer:viewing_product");
    assert_eq!(got["data"]["productName"], "<".repeat(700));
    assert_eq!(server.stats()["rejected"], 1);
}

#[test]
fn an_odd_user_id_is_filled_in_as_it_is() {
    let server = Server::start();
    let mut staff = staff(&server);
    let name = "zoë \"<&>\\ 😀\u{2028}";
    let mut odd = server.user(name, "customer");
    odd.send(&viewing(json!({"productId": "p", "productName": "n"})));
    assert_eq!(
        staff.expect_event("customer:viewing_product")["data"]["customerId"],
        name
    );
    odd.send(&viewing(
        json!({"customerId": name, "productId": "p", "productName": "n"}),
    ));
    assert_eq!(
        staff.expect_event("customer:viewing_product")["data"]["customerId"],
        name
    );
}

#[test]
fn bad_ones_are_refused_with_their_field() {
    let server = Server::start();
    let mut staff = staff(&server);
    let mut ann = server.user("ann", "customer");
    let good = json!({"productId": "p", "productName": "n"});
    let with = |name: &str, value: Value| {
        let mut message = viewing(good.clone());
        message[name] = value;
        message
    };
    for (message, field) in [
        (viewing(json!({"productName": "n"})), "data.productId"),
        (viewing(json!({"productId": "p"})), "data.productName"),
        (
            viewing(json!({"productId": "p", "productName": 7})),
            "data.productName",
        ),
        (
            viewing(json!({"productId": "p", "productName": "n", "duration": -1})),
            "data.duration",
        ),
        (
            json!({"type": "customer:activity", "data": {"action": "dancing"}}),
            "data.action",
        ),
        (
            json!({"type": "customer:activity", "data": {"action": "viewing", "timestamp": -1}}),
            "data.timestamp",
        ),
        (
            json!({"type": "customer:added_to_cart", "data": {"productId": "p", "productName": "n", "quantity": 0}}),
            "data.quantity",
        ),
        (
            viewing(json!({"customerId": 7, "productId": "p", "productName": "n"})),
            "data.customerId",
        ),
        (
            viewing(json!({"customerId": null, "productId": "p", "productName": "n"})),
            "data.customerId",
        ),
        (with("to", json!({})), "to"),
        (with("to", json!({"roles": ["admin"]})), "to"),
        (with("key", json!("k")), "key"),
        (with("id", json!("1")), "id"),
    ] {
        let error = ann.ask_refused(&message, "invalid_message");
        assert_eq!(error["field"], field, "{message} -> {error}");
        assert_eq!(error["request"], message["type"], "{message} -> {error}");
    }
    for data in [json!(null), json!([]), json!("x")] {
        ann.ask_refused(&viewing(data), "invalid_message");
    }
    ann.ask_refused(
        &json!({"type": "customer:viewing_product"}),
        "invalid_message",
    );
    let mut emitter = server.emitter();
    Fence::raise(&mut emitter).nothing_before(&mut staff);
}

#[test]
fn what_is_not_ones_own_is_forbidden() {
    let server = Server::start();
    let mut staff = staff(&server);
    let mut ann = server.user("ann", "customer");
    for id in ["bob", "Ann", "ann ", "anne"] {
        ann.ask_refused(
            &viewing(json!({"customerId": id, "productId": "p", "productName": "n"})),
            "forbidden",
        );
    }
    for kind in [
        "order:created",
        "customer:online",
        "customer:offline",
        "product:deleted",
        "system:alert",
        "payment:received",
    ] {
        ann.ask_refused(&event(kind), "forbidden");
    }
    let message = viewing(json!({"productId": "p", "productName": "n"}));
    for role in ["admin", "manager", "staff", "guest"] {
        server.user("ann", role).ask_refused(&message, "forbidden");
    }
    let answer = server.public().ask(&message);
    let code = answer["data"]["code"].as_str().unwrap_or_default();
    assert!(matches!(code, "unauthorized" | "forbidden"), "{answer}");
    let mut emitter = server.emitter();
    Fence::raise(&mut emitter).nothing_before(&mut staff);
}

#[test]
fn a_customer_that_becomes_staff_publishes_no_more() {
    let server = Server::start();
    let mut ann = server.user("ann", "customer");
    ann.auth(&crate::harness::tokens::of("ann", "staff"));
    ann.ask_refused(
        &viewing(json!({"productId": "p", "productName": "n"})),
        "forbidden",
    );
}

#[test]
fn one_customers_events_keep_their_order() {
    let server = Server::with(&["--message-rate", "0"]);
    let mut staff = staff(&server);
    let mut ann = server.user("ann", "customer");
    for n in 1..=500 {
        ann.send(&json!({"type": "customer:added_to_cart", "data": {"productId": "p", "productName": "n", "quantity": n}}));
    }
    for n in 1..=500 {
        assert_eq!(
            staff.expect_event("customer:added_to_cart")["data"]["quantity"],
            n
        );
    }
}
