//! Tests of the JSON Schema: that it judges lines as the parser does, wherever a schema can.
#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::event::{Line, Parser, Refusal, Rules};

/// The schema of a definition, ready to judge.
fn validator(name: &str) -> Validator {
    let refs = Refs("#/$defs/");
    let mut schema = document();
    schema.as_object_mut().unwrap().remove("anyOf");
    schema["$ref"] = refs.path(name).into();
    jsonschema::draft202012::new(&schema).unwrap()
}

static LINES: LazyLock<Validator> = LazyLock::new(|| validator(LINE));

/// What the parser says of a line; a command is no event.
fn parsed(line: &str) -> Result<(), Refusal> {
    let mut parser = Parser::new(Rules {
        order_statuses: Vec::new(),
        max_message: 1 << 20,
    });
    match parser.parse(line.as_bytes()) {
        Ok(Line::Event(_)) => Ok(()),
        Ok(Line::Command | Line::Blank) => Err(Refusal::whole(
            crate::event::Code::InvalidJson,
            "not an event",
        )),
        Err(refusal) => Err(refusal),
    }
}

/// Whether a schema cannot tell what the parser refuses.
fn is_beyond_schemas(line: &Value, refusal: &Refusal) -> bool {
    let Some(name) = refusal
        .field
        .as_deref()
        .and_then(|field| field.strip_prefix("data."))
    else {
        return false;
    };
    let value = &line["data"][name];
    match value {
        Value::Number(_) => name == DIFFERENCE.field,
        Value::String(text) if text.len() > TEXT_BYTES_MAX => {
            text.chars().count() <= TEXT_BYTES_MAX
        }
        Value::String(_) => line["type"].as_str().is_some_and(|kind| {
            let fields = EventType::from_name(kind).unwrap().fields();
            fields
                .iter()
                .any(|field| field.name == name && field.rule == Rule::OrderStatus)
        }),
        _ => false,
    }
}

/// Holds the two verdicts on a line against each other.
fn compare(line: &Value) -> Result<bool, String> {
    let is_valid = LINES.is_valid(line);
    match parsed(&line.to_string()) {
        Ok(()) if is_valid => Ok(true),
        Ok(()) => Err(format!("the parser takes it, the schema does not: {line}")),
        Err(refusal) if is_valid && !is_beyond_schemas(line, &refusal) => Err(format!(
            "the schema takes it, the parser does not ({refusal}): {line}"
        )),
        Err(_) => Ok(false),
    }
}

/// A value that keeps the rule.
fn good(rule: Rule) -> Value {
    match rule {
        Rule::Id => json!("id-1"),
        Rule::Text => json!("text"),
        Rule::Number => json!(-1.5),
        Rule::NonNegative => json!(0),
        Rule::PositiveInteger => json!(2.0),
        Rule::Timestamp => json!(1_700_000_000_000u64),
        Rule::Boolean => json!(false),
        Rule::Constant(value) => json!(value),
        Rule::Object => json!({ "a": [null] }),
        Rule::OneOf(words) => json!(words[0]),
        Rule::OrderStatus => json!("pending"),
        Rule::Roles => json!(["admin", "admin"]),
        Rule::ActionUrl => json!("/orders/1"),
    }
}

/// A good line of this type.
fn line_of(kind: EventType) -> Value {
    let mut data = json!({ "extra": null });
    for field in kind.fields() {
        data[field.name] = good(field.rule);
    }
    if kind == DIFFERENCE.kind {
        data[DIFFERENCE.field] = json!(0);
    }
    json!({ "type": kind.name(), "data": data })
}

/// Values that some rule takes and others do not, edges among them.
fn any_value() -> impl Strategy<Value = Value> {
    let words = EventType::ALL
        .into_iter()
        .flat_map(EventType::fields)
        .filter_map(|field| match field.rule {
            Rule::OneOf(words) => Some(words),
            _ => None,
        });
    let mut values: Vec<Value> = words.flatten().map(|word| json!(word)).collect();
    values.extend([
        json!(null),
        json!(true),
        json!(false),
        json!([]),
        json!({}),
        json!([1]),
        json!({ "a": 1 }),
        json!(0),
        json!(-0.0),
        json!(-1),
        json!(0.5),
        json!(1),
        json!(1.0),
        json!(1e300),
        json!((1u64 << 53) - 1),
        json!(1u64 << 53),
        json!(9_007_199_254_740_991.0),
        json!(u64::MAX),
        json!(""),
        json!(" "),
        json!("a\n"),
        json!("\u{0}"),
        json!("\u{7f}"),
        json!("é\u{85}"),
        json!("a".repeat(128)),
        json!("a".repeat(129)),
        json!("😀".repeat(128)),
        json!("😀".repeat(129)),
        json!("a".repeat(4096)),
        json!("a".repeat(4097)),
        json!("é".repeat(2048)),
        json!("é".repeat(2049)),
        json!(format!("/{}", "é".repeat(2048))),
        json!("/"),
        json!("/a\n"),
        json!("pending"),
        json!("admin"),
        json!("orders"),
        json!("order:created"),
        json!(["admin"]),
        json!(["guest", "staff"]),
        json!(["public"]),
        json!(["admin", 1]),
        json!(["a", "b"]),
        json!([""]),
        json!([null]),
        json!([["admin"]]),
    ]);
    prop_oneof![
        select(values),
        ".{0,20}".prop_map(Value::from),
        any_url().prop_map(Value::from)
    ]
}

/// What looks like a URL, from the pieces that decide whether it is one.
fn any_url() -> impl Strategy<Value = String> {
    let pieces = [
        "/", "\\", "?", "#", "@", ":", "[", "]", "a", "b.c", " ", "\u{a0}", "\u{3000}", "\u{feff}",
        "\t", "\u{85}", "http://", "https://", "ftp:", "é",
    ];
    let start = select(vec![
        "", "/", "http://", "https://", "HTTP://", "http:/", " /",
    ]);
    (start, prop::collection::vec(select(pieces.to_vec()), 0..7))
        .prop_map(|(start, rest)| format!("{start}{}", rest.concat()))
}

#[test]
fn every_type_is_taken_with_and_without_its_optional_fields() {
    for kind in EventType::ALL {
        let whole = line_of(kind);
        let mut least = whole.clone();
        for field in kind.fields().iter().filter(|field| !field.required) {
            least["data"].as_object_mut().unwrap().remove(field.name);
        }
        for line in [whole, least] {
            assert_eq!(compare(&line), Ok(true), "{line}");
        }
        for field in kind.fields().iter().filter(|field| field.required) {
            let mut line = line_of(kind);
            line["data"].as_object_mut().unwrap().remove(field.name);
            assert_eq!(compare(&line), Ok(false), "{line}");
        }
    }
}

#[test]
fn targets_and_the_other_fields_of_a_line_are_judged_alike() {
    let good = [
        json!({}),
        json!({ "to": {} }),
        json!({ "to": { "roles": ["admin", "staff"], "userIds": ["u"], "owners": ["o"], "excludeUserIds": [] } }),
        json!({ "to": { "excludeUserIds": ["x", "x"], "excludeSessionId": "s" } }),
        json!({ "timestamp": 0, "key": "k", "namespace": "products" }),
        json!({ "timestamp": 2.0 }),
    ];
    let bad = [
        json!({ "to": null }),
        json!({ "to": [] }),
        json!({ "to": { "role": ["admin"] } }),
        json!({ "to": { "roles": [] } }),
        json!({ "to": { "roles": ["public"] } }),
        json!({ "to": { "roles": "admin" } }),
        json!({ "to": { "userIds": [] } }),
        json!({ "to": { "owners": [] } }),
        json!({ "to": { "owners": [1] } }),
        json!({ "to": { "excludeUserIds": [""] } }),
        json!({ "to": { "excludeSessionId": "" } }),
        json!({ "to": { "excludeSessionId": ["s"] } }),
        json!({ "timestamp": -1 }),
        json!({ "timestamp": 0.5 }),
        json!({ "timestamp": null }),
        json!({ "key": "" }),
        json!({ "key": "a\u{0}" }),
        json!({ "namespace": "orders" }),
        json!({ "namespace": null }),
        json!({ "id": "x" }),
        json!({ "command": "stats" }),
        json!({ "type": "product:delete" }),
        json!({ "type": null }),
        json!({ "data": [] }),
        json!({ "data": null }),
    ];
    let with = |more: &Value| {
        let mut line = line_of(EventType::ProductDeleted);
        line.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        line
    };
    for more in &good {
        assert_eq!(compare(&with(more)), Ok(true), "{more}");
    }
    for more in &bad {
        assert_eq!(compare(&with(more)), Ok(false), "{more}");
    }
    for line in [
        json!({}),
        json!([]),
        json!("product:deleted"),
        json!({ "type": "product:deleted" }),
    ] {
        assert_eq!(compare(&line), Ok(false), "{line}");
    }
}

/// A field that the parser knew and the schemas did not would be refused by them, and the other way
/// round: so the list here is the parser's.
#[test]
fn the_fields_of_to_are_the_parsers() {
    for field in &TARGET {
        let mut line = line_of(EventType::ProductDeleted);
        line["to"] = json!({ field.name: 7 });
        let refusal = parsed(&line.to_string()).unwrap_err();
        assert!(!refusal.message.contains("unknown"), "{refusal}");
    }
    let mut line = line_of(EventType::ProductDeleted);
    line["to"] = json!({ "nobody": 7 });
    let known = parsed(&line.to_string()).unwrap_err().message;
    let (_, list) = known.split_once("unknown: ").unwrap();
    let names = list.trim_end_matches(" are allowed").replace(" and ", ", ");
    let names: Vec<&str> = names.split(", ").collect();
    assert_eq!(names, TARGET.map(|field| field.name));
}

#[test]
fn events_are_as_the_server_sends_them() {
    let events = validator(EVENT);
    for kind in EventType::ALL {
        let mut event = line_of(kind);
        event["id"] = json!("18bcfe56800beef-1");
        event["namespace"] = json!(kind.namespace().name());
        event["timestamp"] = json!(1_700_000_000_000u64);
        assert!(events.is_valid(&event), "{event}");
        assert!(!LINES.is_valid(&event), "an event is no line: {event}");
        for name in ["id", "type", "namespace", "data", "timestamp"] {
            let mut cut = event.clone();
            cut.as_object_mut().unwrap().remove(name);
            assert!(!events.is_valid(&cut), "{cut}");
        }
        event["namespace"] = json!("nowhere");
        assert!(!events.is_valid(&event), "{event}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_value_in_any_field_is_judged_alike(kind in select(EventType::ALL.to_vec()), which: Index, value in any_value()) {
        let mut line = line_of(kind);
        let field = which.get(kind.fields());
        line["data"][field.name] = value;
        prop_assert_eq!(compare(&line).err(), None);
    }

    #[test]
    fn any_url_is_judged_alike(url in any_url()) {
        let mut line = line_of(EventType::SystemNotification);
        line["data"]["actionUrl"] = url.into();
        prop_assert_eq!(compare(&line).err(), None);
    }

    #[test]
    fn any_value_beside_data_is_judged_alike(
        name in select(vec!["type", "data", "to", "timestamp", "namespace", "key", "id"]),
        value in any_value(),
    ) {
        let mut line = line_of(EventType::ProductDeleted);
        line[name] = value;
        prop_assert_eq!(compare(&line).err(), None);
    }

    #[test]
    fn any_value_in_a_target_is_judged_alike(which: Index, value in any_value()) {
        let mut line = line_of(EventType::ProductDeleted);
        line["to"] = json!({ which.get(&TARGET).name: value });
        prop_assert_eq!(compare(&line).err(), None);
    }
}
