//! `ctl`'s lines on the ingest socket (CONTRACT section 4, last paragraph): bytes to a command.
//!
//! Pure. The router carries commands out.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::access::Role;
use crate::auth::Whom;
use crate::emitters::Verb;
use crate::event::is_id;
use crate::limits;
use crate::ring::Selector;

/// What an operator asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// The counters of this process.
    Stats,
    /// Say goodbye to everybody and end.
    Drain,
    /// Read settings, keys and certificates again.
    Reload,
    /// Close the connections that the selector names.
    Disconnect(Selector),
    /// Close these connections, and refuse the tokens that were made so far; remember it for so long.
    Revoke(Whom, Duration),
}

impl Command {
    /// What it is called.
    pub fn verb(&self) -> Verb {
        match self {
            Command::Stats => Verb::Stats,
            Command::Drain => Verb::Drain,
            Command::Reload => Verb::Reload,
            Command::Disconnect(_) => Verb::Disconnect,
            Command::Revoke(..) => Verb::Revoke,
        }
    }
}

/// How long a revocation is remembered if nothing is said.
const REVOKED_FOR: Duration = Duration::from_secs(24 * 3600);

/// The field at fault and a sentence.
pub type Fault = (&'static str, String);

/// Reads a command line, a JSON object that has the member `command`.
pub fn parse(line: &[u8]) -> Result<Command, Fault> {
    let object: Map<String, Value> = serde_json::from_slice(line)
        .map_err(|_| ("command", "the line is not a JSON object".to_owned()))?;
    let name = object
        .get("command")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let verb = Verb::parse(name);
    let fields: &[&str] = match verb {
        Some(Verb::Disconnect) => &["command", "user", "session", "connection", "role"],
        Some(Verb::Revoke) => &["command", "user", "session", "for"],
        _ => &["command"],
    };
    if object.keys().any(|key| !fields.contains(&key.as_str())) {
        // Else an event that happens to have the field would vanish without a word.
        let message = format!("a command takes no other fields than {}", fields.join(", "));
        return Err(("command", message));
    }
    match verb {
        Some(Verb::Stats) => Ok(Command::Stats),
        Some(Verb::Drain) => Ok(Command::Drain),
        Some(Verb::Reload) => Ok(Command::Reload),
        Some(Verb::Disconnect) => selector(&object).map(Command::Disconnect),
        Some(Verb::Revoke) => revoke(&object),
        None => {
            let known = Verb::ALL.map(Verb::name).join(", ");
            Err((
                "command",
                format!("the command is unknown; there are {known}"),
            ))
        }
    }
}

fn selector(object: &Map<String, Value>) -> Result<Selector, Fault> {
    const ALLOWED: &str =
        "disconnect takes exactly one of user, session, connection and role, a string";
    let fields = ["user", "session", "connection", "role"];
    let (field, text) = one_of(object, &fields, ALLOWED)?;
    match field {
        "user" => Ok(Selector::User(text)),
        "session" => Ok(Selector::Session(text)),
        "connection" => Ok(Selector::Connection(text)),
        _ => {
            let role = Role::ALL.into_iter().find(|role| role.name() == text);
            role.map(Selector::Role).ok_or_else(|| {
                let known = Role::ALL.map(Role::name).join(", ");
                (field, format!("role must be one of {known}"))
            })
        }
    }
}

fn revoke(object: &Map<String, Value>) -> Result<Command, Fault> {
    const ALLOWED: &str = "revoke takes exactly one of user and session, a string";
    let (field, id) = one_of(object, &["user", "session"], ALLOWED)?;
    if !is_id(&id) {
        let message =
            format!("{field} must have 1 to 128 characters, none of them a control character");
        return Err((field, message));
    }
    let whom = match field {
        "user" => Whom::User(id),
        _ => Whom::Session(id),
    };
    let kept = match object.get("for") {
        None => Some(REVOKED_FOR),
        Some(ms) => ms
            .as_u64()
            .map(Duration::from_millis)
            .filter(|kept| (limits::REVOKED_FOR_MIN..=limits::REVOKED_FOR_MAX).contains(kept)),
    };
    let kept = kept.ok_or_else(|| {
        let (least, most) = (limits::REVOKED_FOR_MIN, limits::REVOKED_FOR_MAX);
        let message = format!(
            "for must be a whole number of ms, from {} to {}",
            least.as_millis(),
            most.as_millis()
        );
        ("for", message)
    })?;
    Ok(Command::Revoke(whom, kept))
}

/// The one of these fields that is there, with its text; else the fault is that `allowed` was not heeded.
fn one_of(
    object: &Map<String, Value>,
    fields: &[&'static str],
    allowed: &str,
) -> Result<(&'static str, String), Fault> {
    let mut found = None;
    for &field in fields {
        match object.get(field) {
            None => {}
            Some(Value::String(text)) if found.is_none() => found = Some((field, text.clone())),
            Some(_) => return Err((field, allowed.to_owned())),
        }
    }
    found.ok_or_else(|| ("command", allowed.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_commands_are_read() {
        assert_eq!(parse(br#"{"command":"stats"}"#), Ok(Command::Stats));
        assert_eq!(parse(br#"{"command":"drain"}"#), Ok(Command::Drain));
        assert_eq!(parse(br#"{"command":"reload"}"#), Ok(Command::Reload));
        assert_eq!(
            parse(br#"{"command":"disconnect","user":"u1"}"#),
            Ok(Command::Disconnect(Selector::User("u1".into())))
        );
        assert_eq!(
            parse(br#"{"command":"disconnect","role":"public"}"#),
            Ok(Command::Disconnect(Selector::Role(Role::Public)))
        );
        assert_eq!(
            parse(br#"{"command":"revoke","user":"u1"}"#),
            Ok(Command::Revoke(Whom::User("u1".into()), REVOKED_FOR))
        );
        assert_eq!(
            parse(br#"{"command":"revoke","session":"s1","for":60000}"#),
            Ok(Command::Revoke(
                Whom::Session("s1".into()),
                Duration::from_secs(60)
            ))
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
        ] {
            let (at, message) = parse(line.as_bytes()).unwrap_err();
            assert_eq!(at, field, "{line}");
            assert!(message.contains(word), "{line}: {message}");
        }
    }
}
