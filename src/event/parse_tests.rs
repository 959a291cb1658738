//! Tests of the parser: the contract's rules for a line, one by one.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[path = "target_tests.rs"]
mod target_tests;

const MAX: usize = 64 * 1024;

fn parser() -> Parser {
    Parser::new(Rules {
        order_statuses: vec!["on_hold".to_owned()],
        max_message: MAX,
    })
}

fn refusal(line: &str) -> Refusal {
    match parser().parse(line.as_bytes()) {
        Err(refusal) => {
            assert!(refusal.message.len() > 10, "{refusal:?}");
            refusal
        }
        Ok(line_read) => panic!("{line} was taken: {line_read:?}"),
    }
}

fn assert_refused(line: &str, code: Code, field: &str) {
    let refusal = refusal(line);
    assert_eq!(
        (refusal.code, refusal.field.as_deref()),
        (code, Some(field)),
        "{line}: {}",
        refusal.message
    );
}

fn assert_refused_whole(line: &str, code: Code) {
    let refusal = refusal(line);
    assert_eq!((refusal.code, refusal.field), (code, None), "{line}");
}

fn with_event<T>(line: &str, look: impl FnOnce(&Event<'_>) -> T) -> T {
    match parser().parse(line.as_bytes()) {
        Ok(Line::Event(event)) => look(&event),
        other => panic!("{line}: {other:?}"),
    }
}

/// A value that keeps the rule, and values that break it.
fn examples(rule: Rule) -> (Value, Vec<Value>) {
    let mut bad = vec![Value::Null, json!([])];
    let good = match rule {
        Rule::Id => {
            bad.extend([
                json!(""),
                json!(7),
                json!("a".repeat(129)),
                json!("a\u{0}"),
                json!({}),
            ]);
            json!("id-1")
        }
        Rule::Text => {
            bad.extend([json!("x".repeat(4097)), json!(7), json!({})]);
            json!("")
        }
        Rule::Number => {
            bad.extend([json!("1"), json!(true)]);
            json!(-1.5)
        }
        Rule::NonNegative => {
            bad.extend([json!("1"), json!(-0.5)]);
            json!(0)
        }
        Rule::PositiveInteger => {
            bad.extend([json!("1"), json!(0), json!(1.5)]);
            json!(2.0)
        }
        Rule::Timestamp => {
            bad.extend([json!("1"), json!(-1), json!(0.5), json!(1u64 << 53)]);
            json!(1_700_000_000_000u64)
        }
        Rule::Boolean => {
            bad.extend([json!("true"), json!(1)]);
            json!(false)
        }
        Rule::Constant(value) => {
            bad.extend([json!(!value), json!(1)]);
            json!(value)
        }
        Rule::Object => {
            bad.extend([json!("x"), json!(1)]);
            json!({})
        }
        Rule::OneOf(words) => {
            bad.extend([json!("other"), json!(""), json!(1)]);
            json!(words[0])
        }
        Rule::OrderStatus => {
            bad.extend([json!("other"), json!(1)]);
            json!("on_hold")
        }
        Rule::Roles => {
            bad.extend([json!("admin"), json!(["public"]), json!(["admin", 1])]);
            json!(["admin"])
        }
        Rule::ActionUrl => {
            bad.extend([json!("//x"), json!("javascript:x"), json!("")]);
            json!("/x")
        }
    };
    (good, bad)
}

/// Valid data of a type, with every field or only the required ones.
fn data(kind: EventType, optional: bool) -> Value {
    let mut data = json!({});
    for field in kind.fields() {
        if field.required || optional {
            data[field.name] = examples(field.rule).0;
        }
    }
    if kind == DIFFERENCE.kind {
        data[DIFFERENCE.field] = json!(0);
    }
    data
}

fn line(kind: EventType, data: &Value) -> String {
    json!({"type": kind.name(), "data": data}).to_string()
}

/// A valid line with more top-level fields.
fn order_with(more: &str) -> String {
    format!(r#"{{"type":"product:deleted","data":{{"productId":"p"}}{more}}}"#)
}

fn to(to: &str) -> String {
    order_with(&format!(r#","to":{to}"#))
}

#[test]
fn every_type_is_taken_with_and_without_its_optional_fields() {
    for kind in EventType::ALL {
        for optional in [false, true] {
            let data = data(kind, optional);
            with_event(&line(kind, &data), |event| {
                assert_eq!(event.kind, kind);
                assert_eq!(serde_json::from_slice::<Value>(event.data).unwrap(), data);
                assert_eq!(
                    event.customer,
                    data.get("customerId").and_then(Value::as_str)
                );
                assert_eq!((event.timestamp, event.key), (None, None));
            });
        }
    }
}

#[test]
fn every_rule_of_every_field_refuses() {
    for kind in EventType::ALL {
        for field in kind.fields() {
            let name = format!("data.{}", field.name);
            for bad in examples(field.rule).1 {
                let mut data = data(kind, true);
                data[field.name] = bad;
                assert_refused(&line(kind, &data), Code::InvalidPayload, &name);
            }
            let mut data = data(kind, true);
            data.as_object_mut().unwrap().remove(field.name);
            if field.required {
                assert_refused(&line(kind, &data), Code::InvalidPayload, &name);
            } else {
                with_event(&line(kind, &data), |_| ());
            }
        }
    }
}

#[test]
fn extra_fields_are_passed_on_unread() {
    with_event(
        r#"{"type":"product:deleted","data":{"productId":"p","customerId":["no"],"price":-1}}"#,
        |event| {
            assert_eq!(
                event.data,
                br#"{"productId":"p","customerId":["no"],"price":-1}"#
            );
            assert_eq!(event.customer, None);
            assert_eq!(event.targets.owners().count(), 0);
        },
    );
}

#[test]
fn data_is_the_original_bytes_wherever_it_stands() {
    let data = "{ \"productId\" : \"p\\u0031\\n\" ,\t\"x\":[1.50, {\"}\":\"{\\\"\"}] }";
    for line in [
        format!(r#"{{"data":{data},"type":"product:deleted"}}"#),
        format!(r#" {{ "type" : "product:deleted" , "data" : {data} }} "#),
        format!(r#"{{"d\u0061ta":{data},"to":{{}},"type":"product\u003adeleted","key":"k\"\\"}}"#),
        format!("{{\"type\":\"product:deleted\",\"data\":{data}}}\r"),
    ] {
        // Not an id because of the newline: shows that rules judge the unescaped value.
        assert_refused(&line, Code::InvalidPayload, "data.productId");
        let (line, data) = (line.replace("\\n", ""), data.replace("\\n", ""));
        with_event(&line, |event| {
            assert_eq!(event.data, data.as_bytes(), "{line}")
        });
    }
}

#[test]
fn blank_lines_and_commands_are_told_apart() {
    for line in ["", " ", "\r", " \t\r"] {
        assert!(
            matches!(parser().parse(line.as_bytes()), Ok(Line::Blank)),
            "{line:?}"
        );
    }
    for line in ["\u{a0}", "\0", "\u{feff}", "\n;"] {
        assert_refused_whole(line, Code::InvalidJson);
    }
    for line in [
        r#"{"command":"stats"}"#,
        r#"{"type":"nonsense","x":1,"command":null}"#,
        r#"{"c\u006fmmand":{}}"#,
    ] {
        assert!(
            matches!(parser().parse(line.as_bytes()), Ok(Line::Command)),
            "{line}"
        );
    }
    assert_refused_whole(r#"{"command":1,"command":1}"#, Code::InvalidJson);
    // Only at the top level.
    with_event(
        &order_with("").replace(r#""p""#, r#""p","command":1"#),
        |_| (),
    );
}

#[test]
fn size_is_the_whole_line() {
    let padded = |len: usize| {
        let line = order_with("");
        format!("{line}{}", " ".repeat(len - line.len()))
    };
    with_event(&padded(MAX), |_| ());
    assert_refused_whole(&padded(MAX + 1), Code::TooLarge);
    assert_refused_whole(&" ".repeat(MAX + 1), Code::TooLarge);
}

#[test]
fn json_faults_come_first_and_name_no_field() {
    for line in [
        "nonsense",
        "[]",
        "{",
        r#"{"type":"product:deleted""#,
        r#"{"type":"x","type":"y"}"#,
        r#"{"type":"product:deleted","data":{"productId":"\ud800"}}"#,
        r#"{"type":"product:deleted","data":{"productId":"p","x":1e999}}"#,
        r#"{"type":"product:deleted","data":{"productId":"p","x":{"a":1,"a":2}}}"#,
    ] {
        assert_refused_whole(line, Code::InvalidJson);
    }
}

#[test]
fn unknown_types_come_before_any_field() {
    for line in [
        "{}",
        r#"{"data":1}"#,
        r#"{"type":null}"#,
        r#"{"type":["order:created"],"x":1}"#,
        r#"{"type":"order:create","x":1}"#,
        r#"{"type":"","data":{}}"#,
    ] {
        assert_refused_whole(line, Code::UnknownType);
    }
}

#[test]
fn top_level_fields_are_known_and_valid() {
    for name in ["x", "id", "Type", "", "user"] {
        assert_refused(
            &order_with(&format!(r#","{name}":1"#)),
            Code::InvalidPayload,
            name,
        );
    }
    for namespace in ["\"orders\"", "\"\"", "null", "1"] {
        assert_refused(
            &order_with(&format!(r#","namespace":{namespace}"#)),
            Code::InvalidPayload,
            "namespace",
        );
    }
    with_event(&order_with(r#","namespace":"products""#), |_| ());
    for time in ["null", "-1", "1.5", "9007199254740992", "\"1\"", "[]"] {
        assert_refused(
            &order_with(&format!(r#","timestamp":{time}"#)),
            Code::InvalidPayload,
            "timestamp",
        );
    }
    for (written, read) in [
        ("0", 0),
        ("-0", 0),
        ("1.7e12", 1_700_000_000_000),
        ("2.0", 2),
    ] {
        let line = order_with(&format!(r#","timestamp":{written}"#));
        with_event(&line, |event| assert_eq!(event.timestamp, Some(read)));
    }
    for key in ["null", "\"\"", "1", "\"a\\n\""] {
        assert_refused(
            &order_with(&format!(r#","key":{key}"#)),
            Code::InvalidPayload,
            "key",
        );
    }
    with_event(&order_with(r#","key":"k\u0031\"""#), |event| {
        assert_eq!(event.key, Some("k1\""))
    });
}

#[test]
fn data_has_to_be_an_object() {
    assert_refused(
        r#"{"type":"product:deleted"}"#,
        Code::InvalidPayload,
        "data",
    );
    for data in ["null", "[]", "\"{}\"", "1"] {
        let line = format!(r#"{{"type":"product:deleted","data":{data}}}"#);
        assert_refused(&line, Code::InvalidPayload, "data");
    }
    assert_refused(
        r#"{"type":"product:deleted","data":{}}"#,
        Code::InvalidPayload,
        "data.productId",
    );
}

#[test]
fn a_difference_has_to_be_one() {
    let mut data = data(EventType::InventoryUpdated, true);
    data["oldStock"] = json!(10);
    data["newStock"] = json!(7);
    data["difference"] = json!(-3);
    with_event(&line(EventType::InventoryUpdated, &data), |_| ());
    data["difference"] = json!(3);
    assert_refused(
        &line(EventType::InventoryUpdated, &data),
        Code::InvalidPayload,
        "data.difference",
    );
}

#[test]
fn payload_faults_come_before_target_faults() {
    let line = to("{\"x\":1}").replace(r#""p""#, "1");
    assert_refused(&line, Code::InvalidPayload, "data.productId");
}

#[test]
fn a_refusal_repeats_little_of_the_input() {
    let long = "n".repeat(3000);
    for line in [
        order_with(&format!(r#","{long}":1"#)),
        to(&format!(r#"{{"{long}":1}}"#)),
        to(&format!(r#"{{"roles":["{long}"]}}"#)),
        to(&format!(r#"{{"userIds":["{long}"]}}"#)),
        order_with(&format!(r#","{long}":1,"{long}":1"#)),
        format!(r#"{{"type":"{long}"}}"#),
        order_with("").replace(r#""p""#, &format!("\"{long}\"")),
        order_with(&format!(r#","namespace":"{long}""#)),
    ] {
        let refusal = refusal(&line);
        let text = format!("{}{}", refusal.message, refusal.field.unwrap_or_default());
        assert!(!text.contains(&"n".repeat(41)), "{text}");
        assert!(text.len() < 400, "{text}");
    }
}

#[test]
fn a_parser_forgets_the_line_before() {
    let mut parser = parser();
    let full =
        to(r#"{"userIds":["u"],"excludeUserIds":["x"],"excludeSessionId":"s","roles":["admin"]}"#);
    assert!(parser.parse(full.as_bytes()).is_ok());
    assert!(parser.parse(b"{\"type\":").is_err());
    assert!(
        parser
            .parse(to(r#"{"owners":["o"],"userIds":[]}"#).as_bytes())
            .is_err()
    );
    let other = to(r#"{"excludeUserIds":["y"]}"#);
    let Ok(Line::Event(event)) = parser.parse(other.as_bytes()) else {
        panic!("a valid line");
    };
    assert_eq!(event.targets.all_names().collect::<Vec<_>>(), ["y"]);
    let plain = order_with("");
    let Ok(Line::Event(event)) = parser.parse(plain.as_bytes()) else {
        panic!("a valid line");
    };
    assert_eq!(event.targets.all_names().len(), 0);
    assert_eq!(
        (event.targets.roles, event.targets.users_narrow),
        (RoleMask::ALL, false)
    );
}

fn any_event() -> impl Strategy<Value = (EventType, Value)> {
    (
        0..EventType::ALL.len(),
        any::<bool>(),
        ".*",
        prop::option::of("[^\\p{Cc}]{1,128}"),
    )
        .prop_map(|(number, optional, text, id)| {
            let kind = EventType::ALL[number];
            let mut data = data(kind, optional);
            for field in kind.fields() {
                match (field.rule, &id) {
                    (Rule::Text, _) => data[field.name] = json!(text),
                    (Rule::Id, Some(id)) => data[field.name] = json!(id),
                    _ => {}
                }
            }
            (kind, data)
        })
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes: Vec<u8>) {
        parser().parse(&bytes).ok();
    }

    #[test]
    fn any_top_level_is_judged_without_a_panic(
        fields in prop::collection::hash_map("type|data|to|timestamp|namespace|key|x", "null|1|\\{\\}|\\[\\]|\"a\"|\"order:deleted\"", 0..5),
    ) {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let line = format!("{{{}}}", fields.join(","));
        prop_assert!(parser().parse(line.as_bytes()).is_err());
    }

    #[test]
    fn any_valid_event_keeps_its_bytes_and_names(
        (kind, data) in any_event(),
        owners in prop::collection::vec("[^\\p{Cc}]{1,20}", 1..4),
    ) {
        let text = data.to_string();
        let line = json!({"to": {"owners": owners}, "type": kind.name()}).to_string();
        let line = line.replacen('{', &format!("{{\"data\":{text},"), 1);
        with_event(&line, |event| {
            assert_eq!(event.data, text.as_bytes());
            let customer = kind.fields().iter().any(|field| field.name == "customerId")
                .then(|| data["customerId"].as_str()).flatten();
            assert_eq!(event.customer, customer);
            let expected: Vec<&str> = owners.iter().map(String::as_str).chain(customer).collect();
            assert_eq!(event.targets.owners().collect::<Vec<_>>(), expected);
        });
    }
}

/// Wherever a key stands twice, and whatever else may be wrong with the line, that is what is told.
#[test]
fn a_key_that_stands_twice_is_refused_wherever_it_stands() {
    let good = r#""orderId":"o","customerId":"c","customerName":"n","total":1,"status":"pending","channel":"web""#;
    let line =
        |data: &str, rest: &str| format!(r#"{{"type":"order:created","data":{{{data}}}{rest}}}"#);
    for (data, rest) in [
        (format!(r#"{good},"total":2"#), ""),
        (format!(r#"{good},"tot\u0061l":2"#), ""),
        (format!(r#"{good},"note":1,"other":2,"note":3"#), ""),
        (format!(r#""note":1,{good},"n\u006fte":3"#), ""),
        (format!(r#"{good},"nested":{{"a":1,"a":2}}"#), ""),
        (format!(r#"{good},"nested":[{{"a":1,"b":2,"a":3}}]"#), ""),
        (good.to_owned(), r#","type":"order:created""#),
        (good.to_owned(), r#","data":{}"#),
        (good.to_owned(), r#","key":"a","key":"b""#),
        (good.to_owned(), r#","timestamp":1,"timestamp":1"#),
        (
            good.to_owned(),
            r#","to":{"roles":["admin"],"roles":["staff"]}"#,
        ),
        (good.to_owned(), r#","to":{},"to":{}"#),
        // Also where something else is wrong, which counts less.
        (format!(r#"{good},"total":-2"#), ""),
        (good.to_owned(), r#","unknown":1,"unknown":2"#),
        (good.to_owned(), r#","command":1,"command":2"#),
    ] {
        let refusal = refusal(&line(&data, rest));
        assert_eq!(
            refusal.code,
            Code::InvalidJson,
            "{data} {rest}: {}",
            refusal.message
        );
        assert!(refusal.message.contains("twice"), "{}", refusal.message);
    }
}

proptest! {
    #[test]
    fn extra_fields_are_taken_once_each(
        names in prop::collection::vec("[ab]{1,3}|(sku|note|ref)[0-9]?", 0..12),
    ) {
        let extra: String = names.iter().map(|name| format!(r#","{name}":1"#)).collect();
        let line = format!(r#"{{"type":"product:deleted","data":{{"productId":"p"{extra}}}}}"#);
        let distinct = names.iter().collect::<std::collections::HashSet<_>>().len() == names.len();
        prop_assert_eq!(parser().parse(line.as_bytes()).is_ok(), distinct, "{}", line);
    }
}
