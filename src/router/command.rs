//! `ctl`'s lines on the ingest socket (CONTRACT section 4, last paragraph): bytes to a command.
//!
//! Pure. The router carries commands out.

use log::LevelFilter;
use serde_json::{Map, Value};

use crate::logging::LEVELS;
use crate::ring::Selector;

/// What an operator asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// The counters of this process.
    Stats,
    /// Say goodbye to everybody and end.
    Drain,
    /// Read keys and certificates again.
    Reload,
    /// Close the connections that the selector names.
    Disconnect(Selector),
    /// Log from this level on; `None`: as the server was started.
    LogLevel(Option<LevelFilter>),
}

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
    let fields: &[&str] = match name {
        "disconnect" => &["command", "user", "session", "connection"],
        "log-level" => &["command", "level"],
        _ => &["command"],
    };
    if object.keys().any(|key| !fields.contains(&key.as_str())) {
        // Else an event that happens to have the field would vanish without a word.
        let message = format!("a command takes no other fields than {}", fields.join(", "));
        return Err(("command", message));
    }
    match name {
        "stats" => Ok(Command::Stats),
        "drain" => Ok(Command::Drain),
        "disconnect" => selector(&object).map(Command::Disconnect),
        "reload" => Ok(Command::Reload),
        "log-level" => log_level(&object).map(Command::LogLevel),
        _ => Err((
            "command",
            "the command is unknown; there are stats, drain, reload, disconnect and log-level"
                .to_owned(),
        )),
    }
}

fn log_level(object: &Map<String, Value>) -> Result<Option<LevelFilter>, Fault> {
    let given = object.get("level").and_then(Value::as_str);
    let found = LEVELS.into_iter().find(|(name, _)| Some(*name) == given);
    found.map(|(_, level)| level).ok_or_else(|| {
        let names = LEVELS.map(|(name, _)| name).join(", ");
        ("level", format!("the level must be one of {names}"))
    })
}

type Make = fn(String) -> Selector;

fn selector(object: &Map<String, Value>) -> Result<Selector, Fault> {
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
    found.ok_or_else(|| ("command", ALLOWED.to_owned()))
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
            parse(br#"{"command":"log-level","level":"debug"}"#),
            Ok(Command::LogLevel(Some(LevelFilter::Debug)))
        );
        assert_eq!(
            parse(br#"{"command":"log-level","level":"default"}"#),
            Ok(Command::LogLevel(None))
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
        ] {
            let (at, message) = parse(line.as_bytes()).unwrap_err();
            assert_eq!(at, field, "{line}");
            assert!(message.contains(word), "{line}: {message}");
        }
    }
}
