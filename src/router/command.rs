//! `ctl`'s lines on the ingest socket (CONTRACT section 4, last paragraph): bytes to a command.
//!
//! Pure. The router carries commands out.

use log::LevelFilter;
use serde_json::{Map, Value};

use crate::access::{Namespace, Role};
use crate::event::EventType;
use crate::limits::LIST_MAX;
use crate::listing::{self, ConnectionsWanted, EventsWanted, Order};
use crate::logging::LEVELS;
use crate::ring::Selector;

/// What an operator asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// The counters of this process; with all latencies, for those who will look again.
    Stats {
        /// See [`crate::stats::Snapshot::with_latencies`].
        latencies: bool,
    },
    /// Say goodbye to everybody and end.
    Drain,
    /// Read keys and certificates again.
    Reload,
    /// Close the connections that the selector names.
    Disconnect(Selector),
    /// Log from this level on; `None`: as the server was started.
    LogLevel(Option<LevelFilter>),
    /// Tell of connections.
    Connections(ConnectionsWanted),
    /// Tell of kept events.
    Events(EventsWanted),
}

/// The field at fault and a sentence.
pub type Fault = (&'static str, String);

type Object = Map<String, Value>;

/// Rows of a list where nothing is said.
const LIMIT: usize = 100;

/// What each command is called, what it takes beside its name, and how it is read.
type Row = (
    &'static str,
    &'static [&'static str],
    fn(&Object) -> Result<Command, Fault>,
);

const COMMANDS: [Row; 7] = [
    ("stats", &["latencies"], stats),
    ("drain", &[], |_| Ok(Command::Drain)),
    ("reload", &[], |_| Ok(Command::Reload)),
    ("disconnect", &["user", "session", "connection"], disconnect),
    ("log-level", &["level"], log_level),
    (
        "connections",
        &[
            "role",
            "user",
            "session",
            "namespace",
            "slow",
            "after",
            "limit",
        ],
        connections,
    ),
    ("history", &["type", "namespace", "data", "limit"], history),
];

/// Reads a command line, a JSON object that has the member `command`.
pub fn parse(line: &[u8]) -> Result<Command, Fault> {
    let object: Object = serde_json::from_slice(line)
        .map_err(|_| ("command", "the line is not a JSON object".to_owned()))?;
    let name = object.get("command").and_then(Value::as_str);
    let Some((_, fields, read)) = COMMANDS.into_iter().find(|(each, ..)| Some(*each) == name)
    else {
        let names = COMMANDS.map(|(name, ..)| name).join(", ");
        return Err((
            "command",
            format!("the command is unknown; there are {names}"),
        ));
    };
    let is_known = |key: &String| key == "command" || fields.contains(&key.as_str());
    if !object.keys().all(is_known) {
        // Else an event that happens to have the field would vanish without a word.
        let allowed = ["command"].iter().chain(fields);
        let allowed: Vec<_> = allowed.copied().collect();
        let message = format!(
            "a command takes no other fields than {}",
            allowed.join(", ")
        );
        return Err(("command", message));
    }
    read(&object)
}

fn stats(object: &Object) -> Result<Command, Fault> {
    let latencies = truth(object, "latencies")?;
    Ok(Command::Stats { latencies })
}

fn log_level(object: &Object) -> Result<Command, Fault> {
    let given = object.get("level").and_then(Value::as_str);
    let found = LEVELS.into_iter().find(|(name, _)| Some(*name) == given);
    let level = found.map(|(_, level)| level).ok_or_else(|| {
        let names = LEVELS.map(|(name, _)| name).join(", ");
        ("level", format!("the level must be one of {names}"))
    })?;
    Ok(Command::LogLevel(level))
}

fn connections(object: &Object) -> Result<Command, Fault> {
    let role = |name: &str| Role::ALL.into_iter().find(|role| role.name() == name);
    let after = one_of(object, "after", listing::parse_connection_id, || {
        "a connectionId, like c1f".to_owned()
    })?;
    let order = match truth(object, "slow")? {
        false => Order::Age { after },
        true if after.is_none() => Order::Slowness,
        true => {
            let message = "after goes on with a list by age: leave it or slow out";
            return Err(("after", message.to_owned()));
        }
    };
    Ok(Command::Connections(ConnectionsWanted {
        role: one_of(object, "role", role, || names(Role::ALL.map(Role::name)))?,
        user: text(object, "user")?,
        session: text(object, "session")?,
        namespace: namespace(object)?,
        order,
        limit: limit(object)?,
    }))
}

fn history(object: &Object) -> Result<Command, Fault> {
    Ok(Command::Events(EventsWanted {
        kind: one_of(object, "type", EventType::from_name, || {
            "an event type, like order:created".to_owned()
        })?,
        namespace: namespace(object)?,
        data: truth(object, "data")?,
        limit: limit(object)?,
    }))
}

fn namespace(object: &Object) -> Result<Option<Namespace>, Fault> {
    one_of(object, "namespace", Namespace::parse, || {
        names(Namespace::ALL.map(Namespace::name))
    })
}

fn names<const N: usize>(names: [&str; N]) -> String {
    format!("one of {}", names.join(", "))
}

/// A string that `read` knows, where there is one; `allowed` says what these are.
fn one_of<T>(
    object: &Object,
    field: &'static str,
    read: impl Fn(&str) -> Option<T>,
    allowed: impl Fn() -> String,
) -> Result<Option<T>, Fault> {
    let Some(given) = object.get(field) else {
        return Ok(None);
    };
    match given.as_str().and_then(read) {
        Some(value) => Ok(Some(value)),
        None => Err((field, format!("{field} must be {}", allowed()))),
    }
}

fn text(object: &Object, field: &'static str) -> Result<Option<String>, Fault> {
    one_of(
        object,
        field,
        |text| Some(text.to_owned()),
        || "a string".to_owned(),
    )
}

fn truth(object: &Object, field: &'static str) -> Result<bool, Fault> {
    match object.get(field) {
        None => Ok(false),
        Some(Value::Bool(truth)) => Ok(*truth),
        Some(_) => Err((field, format!("{field} must be true or false"))),
    }
}

fn limit(object: &Object) -> Result<usize, Fault> {
    let Some(given) = object.get("limit") else {
        return Ok(LIMIT);
    };
    given.as_u64().and_then(listing::limit).ok_or_else(|| {
        let message = format!("limit must be a whole number from 1 to {LIST_MAX}");
        ("limit", message)
    })
}

type Make = fn(String) -> Selector;

fn disconnect(object: &Object) -> Result<Command, Fault> {
    const ALLOWED: &str = "disconnect takes exactly one of user, session and connection, a string";
    let kinds: [(&str, Make); 3] = [
        ("user", Selector::User),
        ("session", Selector::Session),
        ("connection", Selector::Connection),
    ];
    let mut found = None;
    for (field, make) in kinds {
        match object.get(field) {
            None => {}
            Some(Value::String(text)) if found.is_none() => found = Some(make(text.clone())),
            Some(_) => return Err((field, ALLOWED.to_owned())),
        }
    }
    let selector = found.ok_or_else(|| ("command", ALLOWED.to_owned()))?;
    Ok(Command::Disconnect(selector))
}

#[cfg(test)]
mod tests {
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
}
