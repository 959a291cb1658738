//! Every event type accepted, with all of its fields and with the required ones alone, and refused once for each rule.

use serde_json::{Value, json};

use crate::harness::examples::{EXAMPLES, event, line_with};
use crate::harness::model::namespace_of;
use crate::harness::{Fence, Server, tokens};

#[test]
fn every_type_is_accepted_and_arrives_as_it_was_sent() {
    let server = Server::start();
    let mut admin = server.user("root", "admin");
    admin.subscribe(&[
        "orders",
        "customers",
        "products",
        "inventory",
        "payments",
        "system",
    ]);
    let mut emitter = server.emitter();
    for (kind, fields) in EXAMPLES {
        let mut whole = event(kind);
        whole["data"]["extra"] = json!({"passed": ["on", null, 1.50]});
        let mut least = event(kind);
        for (name, _, required, _) in fields {
            if !required {
                least["data"].as_object_mut().unwrap().remove(*name);
            }
        }
        for sent in [whole, least] {
            let before = tokens::now_ms();
            let id = emitter.emit(&sent);
            let got = admin.expect_event(kind);
            assert_eq!(got["id"], id.as_str());
            assert_eq!(got["namespace"], namespace_of(kind));
            assert_eq!(got["data"], sent["data"]);
            let timestamp = got["timestamp"].as_u64().unwrap();
            assert!(
                (before..=tokens::now_ms()).contains(&timestamp),
                "the server's clock: {got}"
            );
            let names: Vec<&String> = got.as_object().unwrap().keys().collect();
            assert_eq!(
                names.len(),
                5,
                "an event has id, type, namespace, data and timestamp: {got}"
            );
        }
    }
}

#[test]
fn every_field_is_refused_once_for_each_rule() {
    let server = Server::start();
    let mut admin = server.user("root", "admin");
    admin.subscribe(&[
        "orders",
        "customers",
        "products",
        "inventory",
        "payments",
        "system",
    ]);
    let mut emitter = server.emitter();
    let mut line = 0;
    let mut wrong = Vec::new();
    for (kind, fields) in EXAMPLES {
        for (name, rule, required, _) in fields {
            let missing = required.then_some(None);
            let bad = rule.refuses();
            for value in bad.iter().map(|value| Some(value.as_str())).chain(missing) {
                let text = line_with(kind, name, value);
                line += 1;
                let field = Some(format!("data.{name}"));
                match emitter.try_emit(text.as_bytes()) {
                    Err(refused)
                        if refused.code == "invalid_payload"
                            && refused.field == field
                            && refused.line == line => {}
                    other => wrong.push(format!("{kind} {name} {value:?} -> {other:?}")),
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "these should be refused as invalid_payload with their field:\n{}",
        wrong.join("\n")
    );
    Fence::raise(&mut emitter).nothing_before(&mut admin);
}

#[test]
fn values_at_the_edge_of_each_rule_are_accepted() {
    let server = Server::start();
    let mut emitter = server.emitter();
    let mut wrong = Vec::new();
    for (kind, fields) in EXAMPLES {
        for (name, rule, _, _) in fields {
            for value in rule.takes() {
                // The difference of two stocks at the edge is another matter: see the test below.
                if kind == "inventory:updated" && matches!(*name, "oldStock" | "newStock") {
                    continue;
                }
                let text = line_with(kind, name, Some(&value));
                if let Err(refused) = emitter.try_emit(text.as_bytes()) {
                    wrong.push(format!("{kind} {name} {value} -> {refused:?}"));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "these should be accepted:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_difference_of_stocks_may_be_off_by_rounding_only() {
    let server = Server::start();
    let mut emitter = server.emitter();
    let line = |old: &str, new: &str, difference: &str| {
        format!(
            r#"{{"type":"inventory:updated","data":{{"productId":"p","productName":"n","sku":"s","oldStock":{old},"newStock":{new},"difference":{difference}}}}}"#
        )
    };
    for (old, new, difference) in [
        ("0.1", "0.3", "0.2"),
        ("0.3", "0.1", "-0.2"),
        ("0", "0", "0"),
        ("5", "5", "-0"),
        ("1e15", "1", "-999999999999999"),
        ("-3", "4", "7"),
    ] {
        emitter
            .try_emit(line(old, new, difference).as_bytes())
            .unwrap_or_else(|refused| {
                panic!("{new} - {old} = {difference} should be accepted: {refused:?}");
            });
    }
    for (old, new, difference) in [
        ("10", "7", "3"),
        ("10", "7", "-3.00001"),
        ("0", "0", "1"),
        ("1e308", "-1e308", "0"),
    ] {
        let refused = emitter.emit_refused(&line(old, new, difference));
        assert_eq!(
            (refused.code.as_str(), refused.field.as_deref()),
            ("invalid_payload", Some("data.difference"))
        );
    }
}

#[test]
fn configured_order_statuses_are_taken_beside_the_five() {
    let setup = crate::harness::Setup::new(&[]).file("[orders]\nstatuses = [\"on_hold\"]\n");
    let server = setup.start();
    let mut emitter = server.emitter();
    for status in ["on_hold", "pending"] {
        let mut order = event("order:created");
        order["data"]["status"] = status.into();
        emitter.emit(&order);
    }
    let refused = emitter.emit_refused(&line_with("order:created", "status", Some(r#""on_hol""#)));
    assert_eq!(refused.field.as_deref(), Some("data.status"));
}

#[test]
fn text_leaves_the_server_safe_for_a_page_and_unchanged_in_meaning() {
    let server = Server::start();
    let mut public = server.public();
    public.subscribe(&["products"]);
    let mut emitter = server.emitter();
    let name = "</script><b>&amp;\u{2028}\u{2029}é😀\u{0}\\<\"";
    let mut changes = serde_json::Map::new();
    changes.insert("<key>&".into(), json!([name, {"\u{2029}": "&"}]));
    emitter.emit(
        &json!({"type": "product:updated", "data": {"productId": "p&<1>", "changes": changes}}),
    );
    // Numbers are passed on as written.
    emitter.try_emit(br#"{"data": {"price": 10.00 , "productId":"p", "category":"\u003c\/a", "productName":"", "x": 1E+2}, "type":"product:created"}"#).unwrap();
    let text = public.socket.read().unwrap().into_text().unwrap();
    for forbidden in ['<', '>', '&', '\u{2028}', '\u{2029}'] {
        assert!(!text.contains(forbidden), "{forbidden:?} in {text}");
    }
    let got: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(got["data"]["productId"], "p&<1>");
    assert_eq!(got["data"]["changes"]["<key>&"][0], name);
    let text = public.socket.read().unwrap().into_text().unwrap();
    assert!(
        text.contains("10.00") && text.contains("1E+2"),
        "numbers as written: {text}"
    );
    let got: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(got["data"]["category"], "</a");
}
