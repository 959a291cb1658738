//! Events in, deliveries out, and those who are too slow for them.

use serde_json::json;
use tungstenite::Message;

use super::expect_growth;
use super::scrape::{Sample, Scrape};
use crate::harness::examples::{about, event};
use crate::harness::{Client, Ending, Opening, Server, wait_until};

#[test]
fn histograms_are_cumulative_and_agree_with_the_counters() {
    let server = Server::start();
    let mut client = server.public();
    client.subscribe(&["products"]);
    let mut emitter = server.emitter();
    for _ in 0..20 {
        emitter.emit(&event("product:created"));
        client.expect_event("product:created");
    }
    wait_until("all are counted", || {
        Scrape::of(&server).get("shopwire_delivery_latency_seconds_count", "") == 20.0
    });
    let scrape = Scrape::of(&server);
    let families = scrape.families.iter();
    for (name, _) in families.filter(|(_, (kind, _))| kind == "histogram") {
        for count in &scrape.samples {
            if count.name != format!("{name}_count") {
                continue;
            }
            let buckets: Vec<&Sample> = scrape
                .samples
                .iter()
                .filter(|sample| sample.name == format!("{name}_bucket"))
                .filter(|sample| sample.labels.get("worker") == count.labels.get("worker"))
                .collect();
            assert!(
                buckets.is_sorted_by(|one, other| one.value <= other.value),
                "{name}"
            );
            let last = buckets.last().unwrap();
            assert_eq!(last.labels["le"], "+Inf", "{name}");
            assert_eq!(last.value, count.value, "{name}");
        }
    }
    assert_eq!(scrape.get("shopwire_deliveries_total", ""), 20.0);
    assert_eq!(scrape.get("shopwire_batch_events_sum", ""), 20.0);
    assert!((1.0..=20.0).contains(&scrape.get("shopwire_batch_events_count", "")));
    assert!(scrape.get("shopwire_delivery_latency_seconds_sum", "") > 0.0);
    assert!(scrape.get("shopwire_loop_turn_seconds_count", "") >= 20.0);
}

#[test]
fn events_are_counted_by_type_and_refusals_by_code() {
    let server = Server::start();
    let before = Scrape::of(&server);
    let mut admin = server.user("root", "admin");
    admin.subscribe(&["orders", "products"]);
    let mut emitter = server.emitter();
    emitter.emit(&about("order:created", "ann"));
    emitter.emit(&about("order:created", "bob"));
    let mut keyed = event("product:created");
    keyed["key"] = "k".into();
    emitter.emit(&keyed);
    emitter.emit(&keyed);
    let mut wrong = event("order:created");
    wrong["data"]["total"] = (-1).into();
    for line in [
        "{",
        r#"{"type":"no:such","data":{}}"#,
        &wrong.to_string(),
        r#"{"type":"product:deleted","data":{"productId":"p"},"to":{"roles":[]}}"#,
    ] {
        emitter.emit_refused(line);
    }
    admin.ask_refused(&json!({"type": "nonsense"}), "unknown_type");
    admin.send_text("[");
    assert_eq!(admin.answer()["data"]["code"], "invalid_message");
    server.public().ask_refused(
        &json!({"type": "subscribe", "data": {"namespaces": ["orders"]}}),
        "unauthorized",
    );
    for (name, labels, by) in [
        ("shopwire_events_in_total", "type=order:created", 2.0),
        ("shopwire_events_in_total", "type=product:created", 1.0),
        ("shopwire_events_in_total", "", 3.0),
        ("shopwire_events_repeated_total", "", 1.0),
        ("shopwire_lines_rejected_total", "code=invalid_json", 1.0),
        ("shopwire_lines_rejected_total", "code=unknown_type", 1.0),
        ("shopwire_lines_rejected_total", "code=invalid_payload", 1.0),
        ("shopwire_lines_rejected_total", "code=invalid_target", 1.0),
        ("shopwire_messages_rejected_total", "code=unknown_type", 1.0),
        (
            "shopwire_messages_rejected_total",
            "code=invalid_message",
            1.0,
        ),
        ("shopwire_messages_rejected_total", "code=unauthorized", 1.0),
        ("shopwire_deliveries_total", "", 3.0),
        ("shopwire_emitters", "", 1.0),
    ] {
        expect_growth(&server, &before, name, labels, by);
    }
}

/// What three kinds of receivers are sent, to the byte: a whole class, touched ones, one who resumes.
#[test]
fn delivered_bytes_are_those_on_the_wire() {
    let server = Server::start();
    let before = Scrape::of(&server);
    let mut clients: Vec<Client> = vec![server.public(), server.user("ann", "customer")];
    clients[0].subscribe(&["products"]);
    let position = clients[1].subscribe(&["products", "orders"])["position"].clone();
    let mut emitter = server.emitter();
    emitter.emit(&event("product:created"));
    emitter.emit(&about("order:created", "ann"));
    let mut sizes = 0;
    let mut read = |client: &mut Client, events: usize| {
        for _ in 0..events {
            let text = loop {
                match client.socket.read().unwrap() {
                    Message::Text(text) => break text,
                    Message::Ping(_) => {}
                    other => panic!("an event was expected, not {other:?}"),
                }
            };
            // A header of four bytes, as 126 to 65,535 bytes have.
            assert!(text.len() >= 126, "{text}");
            sizes += text.len() + 4;
        }
    };
    read(&mut clients[0], 1);
    read(&mut clients[1], 2);
    let mut back = server.user("ann", "customer");
    back.subscribe_with(json!({"namespaces": ["products", "orders"], "since": position}));
    read(&mut back, 2);
    expect_growth(&server, &before, "shopwire_deliveries_total", "", 5.0);
    let bytes = "shopwire_delivered_bytes_total";
    expect_growth(&server, &before, bytes, "", sizes as f64);
}

#[test]
fn a_slow_consumer_shows_in_its_outbox_and_at_its_end() {
    let server = Server::with(&["--outbox-limit", "64KiB", "--outbox-budget", "1MiB"]);
    let before = Scrape::of(&server);
    let mut slow = Client::connect(&server, Opening::new().receive_buffer(4096));
    slow.subscribe(&["products"]);
    let mut emitter = server.emitter();
    let pad = "x".repeat(3000);
    let mut most: f64 = 0.0;
    let closed = "shopwire_slow_consumers_total";
    while Scrape::of(&server).get(closed, "") == 0.0 {
        for n in 0..5 {
            let data = json!({"productId": n.to_string(), "pad": pad});
            emitter.emit(&json!({"type": "product:deleted", "data": data}));
        }
        most = most.max(Scrape::of(&server).get("shopwire_outbox_bytes", ""));
    }
    assert!(most > 0.0, "what waited was seen");
    expect_growth(&server, &before, closed, "", 1.0);
    expect_growth(&server, &before, "shopwire_outbox_bytes", "", 0.0);
    let reason = "reason=slow_consumer";
    expect_growth(
        &server,
        &before,
        "shopwire_connections_closed_total",
        reason,
        1.0,
    );
    assert_eq!(
        before.get("shopwire_outbox_budget_bytes", ""),
        f64::from(1 << 20)
    );
    let (ending, _) = slow.read_to_end();
    assert!(
        matches!(ending, Ending::Closed(4413) | Ending::Cut),
        "{ending:?}"
    );
}
