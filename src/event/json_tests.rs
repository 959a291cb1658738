//! Tests of what is read as JSON and what is refused.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;

use proptest::prelude::*;

use super::*;

thread_local! {
    /// How often this thread has looked at a string of a document.
    pub(super) static LOOKS: Cell<usize> = const { Cell::new(0) };
}

fn accepted(line: &[u8]) -> bool {
    Workspace::new()
        .read(line, |_| Ok(((), Keys::Unchecked)))
        .is_ok()
}

fn refusal(line: &[u8]) -> String {
    let refusal = Workspace::new()
        .read(line, |_| Ok(((), Keys::Unchecked)))
        .unwrap_err();
    assert_eq!((refusal.code, &refusal.field), (Code::InvalidJson, &None));
    refusal.message
}

fn nested(levels: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels))
}

#[test]
fn numbers_a_double_holds_are_taken() {
    for number in [
        "0",
        "-0",
        "-0.0",
        "2.0",
        "1e308",
        "1e-400",
        "123456789012345678901234567890",
        "-123456789012345678901234567890",
        "18446744073709551616",
        "0.1e-7",
        "1E+2",
    ] {
        assert!(
            accepted(format!(r#"{{"a":{number}}}"#).as_bytes()),
            "{number}"
        );
    }
    for number in [
        "1e999", "-1e309", "01", "+1", ".5", "1.", "1e", "0x1", "NaN", "Infinity", "-", "1_0",
    ] {
        assert!(
            !accepted(format!(r#"{{"a":{number}}}"#).as_bytes()),
            "{number}"
        );
    }
    let too_long = format!(r#"{{"a":{}}}"#, "9".repeat(400));
    assert!(refusal(too_long.as_bytes()).contains("double"));
}

#[test]
fn strings_are_whole_unicode() {
    for text in [
        r"\u0000",
        r"\ud83d\ude00",
        "é\u{2028}",
        r#"\"\\\/\b\f\n\r\t"#,
    ] {
        assert!(
            accepted(format!(r#"{{"a":"{text}"}}"#).as_bytes()),
            "{text}"
        );
    }
    for text in [
        r"\ud800",
        r"\udc00",
        r"\ud800x",
        r"\ud800\u0041",
        r"\u12g4",
        r"\x",
        "\u{1}",
        "\t",
    ] {
        for line in [format!(r#"{{"a":"{text}"}}"#), format!(r#"{{"{text}":1}}"#)] {
            assert!(!accepted(line.as_bytes()), "{line}");
        }
    }
    for bytes in [
        &b"\xff"[..],
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
    ] {
        let line = [br#"{"a":""#, bytes, br#""}"#].concat();
        assert!(refusal(&line).contains("UTF-8"), "{bytes:x?}");
    }
}

#[test]
fn only_one_whole_object_is_a_line() {
    for line in [
        "",
        "null",
        "[]",
        "1",
        "\"a\"",
        "{",
        "}",
        "{}}",
        "{} {}",
        "{}x",
        "{\"a\":1,}",
        "{,}",
        "{\"a\"}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":[1,]}",
        "{\"a\":tru}",
        "\u{feff}{}",
        "{}//",
        "{\"a\":1 2}",
        "{\"a\":\"",
        "{\"a\":[}",
        "{}\0",
        "\u{c}{}",
        "\u{b}{}",
        "\u{a0}{}",
    ] {
        assert!(!accepted(line.as_bytes()), "{line:?}");
    }
    for line in ["{}", " {} ", "\t{ }\r", "{\"a\":[1,{},[]]}"] {
        assert!(accepted(line.as_bytes()), "{line:?}");
    }
}

#[test]
fn depth_counts_the_outer_object_as_level_one() {
    assert!(accepted(nested(32).as_bytes()));
    assert!(refusal(nested(33).as_bytes()).contains("32 levels"));
    let lists = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert!(accepted(lists(31).as_bytes()));
    assert!(!accepted(lists(32).as_bytes()));
    assert!(!accepted("[".repeat(1 << 20).as_bytes()));
}

#[test]
fn a_key_stands_once_at_every_level() {
    for line in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"b":2,"\u0061":1}"#,
        r#"{"x":{"a":1,"a":2}}"#,
        r#"{"x":[1,[{"y":{"":1,"":2}}]]}"#,
    ] {
        assert!(refusal(line.as_bytes()).contains("twice"), "{line}");
    }
    assert!(accepted(
        br#"{"a":{"a":{"a":[{"a":1},{"a":1}]}},"A":1,"aa":1,"":0}"#
    ));
}

#[test]
fn a_key_stands_once_among_many_too() {
    const MANY: usize = if cfg!(miri) { 100 } else { 5000 };
    for count in [2, FEW_KEYS, FEW_KEYS + 1, MANY] {
        let keys: Vec<String> = (0..count).map(|n| format!("\"key{n}\":{n}")).collect();
        let fine = format!("{{\"x\":{{{}}}}}", keys.join(","));
        assert!(accepted(fine.as_bytes()), "{count}");
        let twice = format!("{{\"x\":{{{},\"key1\":0}}}}", keys.join(","));
        assert!(refusal(twice.as_bytes()).contains("key1"), "{count}");
    }
}

/// Keys that look alike to the filter, in one object or in as many as may be compared key by key.
#[test]
#[cfg_attr(miri, ignore = "is about size, and takes long")]
fn hostile_objects_stay_cheap() {
    let prefix = "p".repeat(60);
    let object = |keys: Range<usize>| {
        // Of one length, first and last letter.
        let keys = keys.map(|n| format!("\"{prefix}{n:06}p\":0"));
        format!("{{{}}}", keys.collect::<Vec<_>>().join(","))
    };
    let looks_at = |line: &str| {
        LOOKS.set(0);
        assert!(accepted(line.as_bytes()));
        LOOKS.get()
    };
    for count in [12_000, 24_000] {
        // Sorting them takes about 2 n log n, comparing all with all 144 million and more.
        let looks = looks_at(&object(0..count));
        assert!((count..64 * count).contains(&looks), "{looks} for {count}");
        let few = vec![object(0..FEW_KEYS); count / FEW_KEYS].join(",");
        let looks = looks_at(&format!("{{\"all\":[{few}]}}"));
        let most = FEW_KEYS * count;
        assert!((count..most).contains(&looks), "{looks} for {count}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "is about size, and takes an hour")]
fn one_huge_line_is_not_remembered() {
    let mut workspace = Workspace::new();
    let huge = format!("{{\"a\":[{}0]}}", "0,".repeat(200_000));
    workspace
        .read(huge.as_bytes(), |_| Ok(((), Keys::Unchecked)))
        .unwrap();
    workspace
        .read(b"{}", |_| Ok(((), Keys::Unchecked)))
        .unwrap();
    assert!(workspace.tape.0.capacity() <= KEPT_NODES);
    assert!(workspace.scratch.capacity() < 1000);
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map(".*", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes: Vec<u8>) {
        accepted(&bytes);
    }

    #[test]
    fn broken_json_is_judged_as_serde_judges_it(
        text in r#"[\[\]{}:,"\\ \ta-fnrtu0-9.eE+-]{0,24}"#,
    ) {
        let line = format!("{{\"a\":{text}}}");
        let serde = serde_json::from_str::<serde_json::Value>(&line);
        // What an earlier, longer line left behind must not count.
        let mut workspace = Workspace::new();
        let earlier = r#"{"a":["]}\"",{"b":1}],"c":"}]"}"#.repeat(4);
        prop_assert!(workspace.read(earlier.as_bytes(), |_| Ok(((), Keys::Unchecked))).is_err());
        // serde_json keeps the last of two equal keys; we refuse them.
        if let Err(refusal) = workspace.read(line.as_bytes(), |_| Ok(((), Keys::Unchecked))) {
            prop_assert!(serde.is_err() || refusal.message.contains("twice"), "{line}");
        } else {
            prop_assert!(serde.is_ok(), "{line}");
        }
    }

    #[test]
    fn a_span_is_the_original_object(
        before in any_json(), object in prop::collection::hash_map(".*", any_json(), 0..5),
        after in prop::option::of(any_json()), pretty: bool,
    ) {
        let object = serde_json::Value::Object(object.into_iter().collect());
        let object = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) }.unwrap();
        let after = after.map(|value| format!(r#" , "z\"\u00e9" : {value}"#)).unwrap_or_default();
        let line = format!("{{\"a\\n\":{before} , \"d\\u0061ta\" : {object}{after} }} ");
        let span = Workspace::new().read(line.as_bytes(), |document| {
            let mut members = document.members(Document::ROOT).skip(1);
            let (key, _) = members.next().unwrap();
            assert_eq!(key, "data");
            let span = document.object_span(key, members.next().map(|(key, _)| key));
            Ok((span, Keys::Unchecked))
        }).unwrap();
        prop_assert_eq!(&line[span], object);
    }
}
