//! Which lines are commands, and what is said of the others.

use super::*;

fn read(line: &str) -> Command {
    parse(line.as_bytes()).unwrap_or_else(|fault| panic!("{line}: {fault:?}"))
}

#[test]
fn known_commands_are_read() {
    let latencies = |latencies| Command::Stats { latencies };
    assert_eq!(read(r#"{"command":"stats"}"#), latencies(false));
    assert_eq!(
        read(r#"{"command":"stats","latencies":true}"#),
        latencies(true)
    );
    assert_eq!(read(r#"{"command":"drain"}"#), Command::Drain);
    assert_eq!(read(r#"{"command":"reload"}"#), Command::Reload);
    assert_eq!(
        read(r#"{"command":"disconnect","user":"u1"}"#),
        Command::Disconnect(Selector::User("u1".into()))
    );
    assert_eq!(
        read(r#"{"command":"log-level","level":"debug"}"#),
        Command::LogLevel(Some(LevelFilter::Debug))
    );
    assert_eq!(
        read(r#"{"command":"log-level","level":"default"}"#),
        Command::LogLevel(None)
    );
    assert_eq!(
        read(r#"{"command":"disconnect","role":"public"}"#),
        Command::Disconnect(Selector::Role(Role::Public))
    );
    assert_eq!(
        read(r#"{"command":"revoke","user":"u1"}"#),
        Command::Revoke(Whom::User("u1".into()), REVOKED_FOR)
    );
    assert_eq!(
        read(r#"{"command":"revoke","session":"s1","for":60000}"#),
        Command::Revoke(Whom::Session("s1".into()), Duration::from_secs(60))
    );
}

#[test]
fn lists_may_be_narrowed() {
    let all = ConnectionsWanted {
        role: None,
        user: None,
        session: None,
        namespace: None,
        order: Order::Age { after: None },
        limit: 100,
    };
    assert_eq!(
        read(r#"{"command":"connections"}"#),
        Command::Connections(all)
    );
    let some = ConnectionsWanted {
        role: Some(Role::Public),
        user: Some("u".into()),
        session: Some("s".into()),
        namespace: Some(Namespace::Orders),
        order: Order::Age { after: Some(0x1f) },
        limit: 7,
    };
    assert_eq!(
        read(
            r#"{"command":"connections","role":"public","user":"u","session":"s",
            "namespace":"orders","after":"c1f","limit":7}"#
        ),
        Command::Connections(some)
    );
    assert_eq!(
        read(r#"{"command":"why","event":"e-1","user":"u"}"#),
        Command::Why(WhyWanted {
            event: "e-1".into(),
            whose: Whose::User("u".into()),
        })
    );
    assert_eq!(
        read(r#"{"command":"why","event":"e-1","connection":"c1f"}"#),
        Command::Why(WhyWanted {
            event: "e-1".into(),
            whose: Whose::Connection(0x1f),
        })
    );
    let few = TapWanted {
        kind: None,
        namespace: Some(Namespace::Orders),
        user: Some("u".into()),
        lasts: Duration::from_secs(1),
        limit: 2,
    };
    assert_eq!(
        read(r#"{"command":"tap","namespace":"orders","user":"u","for":1000,"limit":2}"#),
        Command::Tap(few)
    );
    let events = EventsWanted {
        kind: Some(EventType::OrderCreated),
        namespace: None,
        data: true,
        limit: 1000,
    };
    assert_eq!(
        read(r#"{"command":"history","type":"order:created","data":true,"limit":1000}"#),
        Command::Events(events)
    );
}

#[test]
fn a_table_is_read_as_the_configuration_has_it() {
    let mut table = AccessTable::default();
    assert_eq!(
        read(r#"{"command":"access","try":{}}"#),
        Command::Access(table.clone())
    );
    let row = [(Role::Admin, Access::All), (Role::Customer, Access::Own)];
    table.set_row(Namespace::System, &row).unwrap();
    assert_eq!(
        read(
            r#"{"command":"access","try":{"system":{"admin":"all","customer":"own","guest":"none"}}}"#
        ),
        Command::Access(table)
    );
    for (tried, word) in [
        ("7", "an object"),
        (r#"{"order":{}}"#, "orders, customers"),
        (r#"{"orders":"all"}"#, "a row"),
        (r#"{"orders":{"boss":"all"}}"#, "the row orders"),
        (r#"{"orders":{"admin":"some"}}"#, "all, own or none"),
        (r#"{"orders":{"guest":"own"}}"#, "no user of its own"),
    ] {
        let line = format!(r#"{{"command":"access","try":{tried}}}"#);
        let (at, message) = parse(line.as_bytes()).unwrap_err();
        assert_eq!(at, "try");
        assert!(message.contains(word), "{line}: {message}");
    }
}

#[test]
fn anything_else_names_the_field_and_what_is_allowed() {
    for (line, field, word) in [
        (r#"{"command":"explode"}"#, "command", "stats"),
        (r#"{"command":7}"#, "command", "stats"),
        (r#"{"command":"stats","x":1}"#, "command", "no other fields"),
        (
            r#"{"type":"order:deleted","data":{},"command":"stats"}"#,
            "command",
            "no other",
        ),
        (r#"{"command":"disconnect"}"#, "command", "exactly one"),
        (r#"{"command":"disconnect","user":7}"#, "user", "a string"),
        (r#"{"command":"log-level"}"#, "level", "off, error, warn"),
        (
            r#"{"command":"log-level","level":"loud"}"#,
            "level",
            "off, error, warn",
        ),
        (
            r#"{"command":"disconnect","user":"a","session":"b"}"#,
            "session",
            "exactly one",
        ),
        (
            r#"{"command":"disconnect","role":"king"}"#,
            "role",
            "admin, manager",
        ),
        (r#"{"command":"revoke"}"#, "command", "exactly one"),
        (r#"{"command":"revoke","user":["a"]}"#, "user", "a string"),
        (r#"{"command":"revoke","user":""}"#, "user", "1 to 128"),
        (
            r#"{"command":"revoke","connection":"c1"}"#,
            "command",
            "no other fields",
        ),
        (
            r#"{"command":"revoke","user":"a","for":"1h"}"#,
            "for",
            "whole number",
        ),
        (
            r#"{"command":"revoke","user":"a","for":999}"#,
            "for",
            "from 1000",
        ),
        (
            r#"{"command":"revoke","user":"a","for":31622400001}"#,
            "for",
            "to 31622400000",
        ),
        (
            r#"{"command":"stats","latencies":1}"#,
            "latencies",
            "true or false",
        ),
        (
            r#"{"command":"connections","role":"boss"}"#,
            "role",
            "admin, manager",
        ),
        (r#"{"command":"connections","user":7}"#, "user", "a string"),
        (
            r#"{"command":"connections","namespace":"x"}"#,
            "namespace",
            "orders, customers",
        ),
        (
            r#"{"command":"connections","after":"1f"}"#,
            "after",
            "like c1f",
        ),
        (
            r#"{"command":"connections","after":"c1f","slow":true}"#,
            "after",
            "by age",
        ),
        (
            r#"{"command":"connections","limit":0}"#,
            "limit",
            "1 to 1000",
        ),
        (
            r#"{"command":"history","limit":1001}"#,
            "limit",
            "1 to 1000",
        ),
        (
            r#"{"command":"tap","limit":0}"#,
            "limit",
            "from 1 to 1000000",
        ),
        (r#"{"command":"tap","for":3600001}"#, "for", "to 3600000"),
        (r#"{"command":"tap","data":true}"#, "command", "no other"),
        (
            r#"{"command":"tap","type":"order:created","namespace":"products"}"#,
            "type",
            "of the namespace orders, not of products",
        ),
        (
            r#"{"command":"history","type":"order:created","namespace":"system"}"#,
            "type",
            "not of system",
        ),
        (
            r#"{"command":"why","event":"e-1"}"#,
            "command",
            "exactly one of user and connection",
        ),
        (
            r#"{"command":"why","event":"e-1","connection":"31"}"#,
            "connection",
            "like c1f",
        ),
        (r#"{"command":"why","user":"u"}"#, "event", "the event's id"),
        (
            r#"{"command":"history","type":"no:such"}"#,
            "type",
            "order:created",
        ),
    ] {
        let (at, message) = parse(line.as_bytes()).unwrap_err();
        assert_eq!(at, field, "{line}");
        assert!(message.contains(word), "{line}: {message}");
    }
}
