//! What a line of the ingest socket must be: whole JSON of bounded depth, known top-level fields, sound targets.

use crate::harness::Server;

#[test]
fn lines_that_are_not_one_json_object_are_invalid_json() {
    let server = Server::start();
    let mut emitter = server.emitter();
    let good = r#"{"type":"product:deleted","data":{"productId":"p"}}"#;
    let data = |inner: &str| {
        format!(r#"{{"type":"product:deleted","data":{{"productId":"p","x":{inner}}}}}"#)
    };
    // The line's object is level 1 and `data` level 2: 30 more make 32, 31 are too many.
    let nested = |levels: usize| data(&format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
    let bad: Vec<Vec<u8>> = vec![
        b"not json".to_vec(),
        b"[]".to_vec(),
        b"\"x\"".to_vec(),
        b"17".to_vec(),
        b"null".to_vec(),
        b"{".to_vec(),
        good.as_bytes()[..good.len() - 1].to_vec(),
        format!("{good} x").into_bytes(),
        format!("{good}{good}").into_bytes(),
        format!("{good},").into_bytes(),
        format!("\u{feff}{good}").into_bytes(),
        b"{'type':'product:deleted'}".to_vec(),
        br#"{"type":"product:deleted","type":"product:deleted","data":{"productId":"p"}}"#.to_vec(),
        br#"{"type":"product:deleted","data":{"productId":"p"},"data":{"productId":"q"}}"#.to_vec(),
        br#"{"type":"product:deleted","data":{"productId":"p","productId":"q"}}"#.to_vec(),
        br#"{"type":"product:deleted","data":{"productId":"p","product\u0049d":"q"}}"#.to_vec(),
        data(r#"{"deep":[{"a":1,"b":2,"a":3}]}"#).into_bytes(),
        nested(31).into_bytes(),
        nested(1000).into_bytes(),
        data(r#""\ud800""#).into_bytes(),
        data(r#""\udc00\ud800""#).into_bytes(),
        data(r#"{"\ud800":1}"#).into_bytes(),
        data("1e999").into_bytes(),
        data("-1e999").into_bytes(),
        data("01").into_bytes(),
        data("1.").into_bytes(),
        data("+1").into_bytes(),
        data("NaN").into_bytes(),
        data("\"\t\"").into_bytes(),
        data(r#""\x""#).into_bytes(),
        data("[1,]").into_bytes(),
        [data("\"").as_bytes(), b"\xff"].concat(),
        data("\"\u{e9}\"")
            .into_bytes()
            .into_iter()
            .filter(|&byte| byte != 0xa9)
            .collect(),
        b"{\"type\":\"product:deleted\",\"data\":{\"productId\":\"\xc0\x80\"}}".to_vec(),
        b"{\"type\":\"product:deleted\",\"data\":{\"productId\":\"\xed\xa0\x80\"}}".to_vec(),
        b"\0".to_vec(),
    ];
    for line in bad {
        let text = String::from_utf8_lossy(&line).into_owned();
        let refused = match emitter.try_emit(&line) {
            Err(refused) => refused,
            Ok(id) => panic!("accepted as {id}: {text}"),
        };
        assert_eq!(
            (refused.code.as_str(), &refused.field),
            ("invalid_json", &None),
            "{text}: {refused:?}"
        );
    }
    for line in [
        nested(30),
        data(r#""\ud83d\ude00""#),
        data("-0"),
        data("123456789012345678901234567890"),
        format!(" \t{good} \r"),
    ] {
        emitter
            .try_emit(line.as_bytes())
            .unwrap_or_else(|refused| panic!("{line}: {refused:?}"));
    }
}

#[test]
fn each_top_level_rule_has_its_code_and_field() {
    let server = Server::start();
    let mut emitter = server.emitter();
    let with = |name: &str, value: &str| {
        format!(r#"{{"type":"product:deleted","data":{{"productId":"p"}},"{name}":{value}}}"#)
    };
    let long = format!("\"{}\"", "k".repeat(129));
    let table: Vec<(String, &str, Option<&str>)> = vec![
        ("{}".into(), "unknown_type", None),
        (r#"{"data":{"productId":"p"}}"#.into(), "unknown_type", None),
        (
            r#"{"type":"product:eaten","data":{"productId":"p"}}"#.into(),
            "unknown_type",
            None,
        ),
        (
            r#"{"type":"Product:deleted","data":{"productId":"p"}}"#.into(),
            "unknown_type",
            None,
        ),
        (
            r#"{"type":"","data":{"productId":"p"}}"#.into(),
            "unknown_type",
            None,
        ),
        (
            r#"{"type":7,"data":{"productId":"p"}}"#.into(),
            "unknown_type",
            None,
        ),
        (
            r#"{"type":"product:deleted"}"#.into(),
            "invalid_payload",
            Some("data"),
        ),
        (
            r#"{"type":"product:deleted","data":[]}"#.into(),
            "invalid_payload",
            Some("data"),
        ),
        (
            r#"{"type":"product:deleted","data":null}"#.into(),
            "invalid_payload",
            Some("data"),
        ),
        (
            r#"{"type":"product:deleted","data":"p"}"#.into(),
            "invalid_payload",
            Some("data"),
        ),
        (
            r#"{"type":"product:deleted","data":{}}"#.into(),
            "invalid_payload",
            Some("data.productId"),
        ),
        (
            with("timestamp", "-1"),
            "invalid_payload",
            Some("timestamp"),
        ),
        (
            with("timestamp", "1.5"),
            "invalid_payload",
            Some("timestamp"),
        ),
        (
            with("timestamp", "9007199254740992"),
            "invalid_payload",
            Some("timestamp"),
        ),
        (
            with("timestamp", "\"now\""),
            "invalid_payload",
            Some("timestamp"),
        ),
        (
            with("timestamp", "null"),
            "invalid_payload",
            Some("timestamp"),
        ),
        (
            with("namespace", "\"orders\""),
            "invalid_payload",
            Some("namespace"),
        ),
        (
            with("namespace", "\"product\""),
            "invalid_payload",
            Some("namespace"),
        ),
        (with("namespace", "7"), "invalid_payload", Some("namespace")),
        (
            with("namespace", "null"),
            "invalid_payload",
            Some("namespace"),
        ),
        (with("key", "\"\""), "invalid_payload", Some("key")),
        (with("key", "7"), "invalid_payload", Some("key")),
        (with("key", "null"), "invalid_payload", Some("key")),
        (with("key", "\"a\\nb\""), "invalid_payload", Some("key")),
        (with("key", &long), "invalid_payload", Some("key")),
        (with("id", "\"1\""), "invalid_payload", Some("id")),
        (with("To", "{}"), "invalid_payload", Some("To")),
        (with("channel", "\"x\""), "invalid_payload", Some("channel")),
        (
            with("to", r#"{"roles":[]}"#),
            "invalid_target",
            Some("to.roles"),
        ),
        (
            with("to", r#"{"roles":["king"]}"#),
            "invalid_target",
            Some("to.roles"),
        ),
        (
            with("to", r#"{"roles":["admin","Staff"]}"#),
            "invalid_target",
            Some("to.roles"),
        ),
        (
            with("to", r#"{"roles":"admin"}"#),
            "invalid_target",
            Some("to.roles"),
        ),
        (
            with("to", r#"{"roles":null}"#),
            "invalid_target",
            Some("to.roles"),
        ),
        (
            with("to", r#"{"userIds":[]}"#),
            "invalid_target",
            Some("to.userIds"),
        ),
        (
            with("to", r#"{"userIds":[""]}"#),
            "invalid_target",
            Some("to.userIds"),
        ),
        (
            with("to", r#"{"userIds":[7]}"#),
            "invalid_target",
            Some("to.userIds"),
        ),
        (
            with("to", r#"{"userIds":"ann"}"#),
            "invalid_target",
            Some("to.userIds"),
        ),
        (
            with("to", &format!(r#"{{"userIds":["ok",{long}]}}"#)),
            "invalid_target",
            Some("to.userIds"),
        ),
        (
            with("to", r#"{"owners":[]}"#),
            "invalid_target",
            Some("to.owners"),
        ),
        (
            with("to", r#"{"owners":["a\u0007"]}"#),
            "invalid_target",
            Some("to.owners"),
        ),
        (
            with("to", r#"{"excludeUserIds":[""]}"#),
            "invalid_target",
            Some("to.excludeUserIds"),
        ),
        (
            with("to", r#"{"excludeUserIds":{}}"#),
            "invalid_target",
            Some("to.excludeUserIds"),
        ),
        (
            with("to", r#"{"excludeSessionId":""}"#),
            "invalid_target",
            Some("to.excludeSessionId"),
        ),
        (
            with("to", r#"{"excludeSessionId":["s"]}"#),
            "invalid_target",
            Some("to.excludeSessionId"),
        ),
        (
            with("to", r#"{"excludeSessionId":null}"#),
            "invalid_target",
            Some("to.excludeSessionId"),
        ),
        (
            with("to", r#"{"role":["admin"]}"#),
            "invalid_target",
            Some("to.role"),
        ),
        (
            with("to", r#"{"userIds":["ann"],"users":["ann"]}"#),
            "invalid_target",
            Some("to.users"),
        ),
    ];
    for (line, code, field) in table {
        let refused = emitter.emit_refused(&line);
        assert_eq!(
            (refused.code.as_str(), refused.field.as_deref()),
            (code, field),
            "{line}: {refused:?}"
        );
    }
    for to in ["[]", "null", "\"all\"", "7"] {
        let refused = emitter.emit_refused(&with("to", to));
        assert_eq!(refused.code, "invalid_target", "to: {to}: {refused:?}");
    }
    for line in [
        with("to", "{}"),
        with("to", r#"{"excludeUserIds":[]}"#),
        with(
            "to",
            r#"{"roles":["admin","admin"],"userIds":["a"],"owners":["b"],"excludeUserIds":["c"],"excludeSessionId":"s"}"#,
        ),
        with("timestamp", "0"),
        with("timestamp", "9007199254740991"),
        with("namespace", "\"products\""),
        with("key", &format!("\"{}\"", "😀".repeat(128))),
    ] {
        emitter
            .try_emit(line.as_bytes())
            .unwrap_or_else(|refused| panic!("{line}: {refused:?}"));
    }
}
