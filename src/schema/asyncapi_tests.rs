//! Tests of the AsyncAPI document's structure. What it says of messages is held against a running
//! server in `tests/server/schema.rs`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::*;
use crate::event::EventType;

/// Calls `look` with every `$ref` of the document.
fn for_each_reference(value: &Value, look: &mut impl FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(path) if name == "$ref" => look(path),
                    _ => for_each_reference(value, look),
                }
            }
        }
        Value::Array(values) => values
            .iter()
            .for_each(|each| for_each_reference(each, look)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut followed = 0;
    for_each_reference(&document, &mut |path| {
        let pointer = path.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{path} leads nowhere");
        followed += 1;
    });
    assert!(followed > 200, "only {followed} references were found");
}

/// The wire names of the messages that a channel's operations of one action name.
fn messages(document: &Value, channel: &str, action: &str) -> BTreeSet<String> {
    let operations = document["operations"].as_object().unwrap().values();
    let place = format!("#/channels/{channel}");
    operations
        .filter(|operation| {
            operation["action"] == action && operation["channel"]["$ref"] == place.as_str()
        })
        .flat_map(|operation| operation["messages"].as_array().unwrap())
        .map(|message| {
            let path = message["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
            document.pointer(path).unwrap()["name"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn every_message_of_the_contract_goes_its_way() {
    let document = document();
    let events = set(&EventType::ALL.map(EventType::name));
    let requests = set(&[
        "auth",
        "subscribe",
        "unsubscribe",
        "ping",
        "customer:activity",
        "customer:viewing_product",
        "customer:added_to_cart",
    ]);
    assert_eq!(messages(&document, WEBSOCKET, "receive"), requests);
    let answers = set(&[
        "welcome",
        "authenticated",
        "subscribed",
        "unsubscribed",
        "pong",
        "error",
        "conflated",
        "token:expiring",
        "reconnect",
    ]);
    assert_eq!(messages(&document, WEBSOCKET, "send"), &answers | &events);
    let lines = &events
        | &set(&[
            "stats",
            "drain",
            "reload",
            "disconnect",
            "revoke",
            "log-level",
            "connections",
            "history",
            "access",
            "tap",
            "why",
        ]);
    assert_eq!(messages(&document, INGEST, "receive"), lines);
    assert_eq!(
        messages(&document, INGEST, "send"),
        set(&["ack", "refusal", "copy", "result"])
    );
}

/// Two messages of one channel that were called alike would be one.
#[test]
fn no_message_hides_another() {
    let refs = Refs("#/components/schemas/");
    for channel in [websocket(refs), ingest(refs)] {
        let all = channel
            .exchanges
            .iter()
            .flat_map(|exchange| &exchange.messages);
        let keys: Vec<&str> = all.map(|message| message.key.as_str()).collect();
        let distinct: BTreeSet<&&str> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "{keys:?}");
        assert_eq!(
            channel.document()["messages"].as_object().unwrap().len(),
            keys.len()
        );
        for key in keys {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            assert!(key.chars().all(allowed), "{key}");
        }
    }
}

#[test]
fn names_of_operations_are_distinct() {
    let refs = Refs("#/components/schemas/");
    let count = websocket(refs).exchanges.len() + ingest(refs).exchanges.len();
    assert_eq!(document()["operations"].as_object().unwrap().len(), count);
}
