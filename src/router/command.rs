//! `ctl`'s lines on the ingest socket (CONTRACT section 4, last paragraph): bytes to a command.
//!
//! Pure. The router carries commands out.

use std::ops::RangeInclusive;
use std::time::Duration;

use log::LevelFilter;
use serde_json::{Map, Value};

use super::tap::TapWanted;
use crate::access::{Access, AccessTable, Namespace, Role};
use crate::auth::Whom;
use crate::emitters::Verb;
use crate::event::{EventType, is_id};
use crate::limits::{self, LIST_MAX};
use crate::listing::{self, ConnectionsWanted, EventsWanted, Order, Whose, WhyWanted};
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
    /// Read settings, keys and certificates again.
    Reload,
    /// Close the connections that the selector names.
    Disconnect(Selector),
    /// Close these connections, and refuse the tokens that were made so far; remember it for so long.
    Revoke(Whom, Duration),
    /// Log from this level on; `None`: as the server was started.
    LogLevel(Option<LevelFilter>),
    /// Tell of connections.
    Connections(ConnectionsWanted),
    /// Tell of kept events.
    Events(EventsWanted),
    /// Tell what this table would change.
    Access(AccessTable),
    /// Send copies of what passes.
    Tap(TapWanted),
    /// Tell whether somebody was sent an event.
    Why(WhyWanted),
}

impl Command {
    /// What it is called.
    pub fn verb(&self) -> Verb {
        match self {
            Command::Stats { .. } => Verb::Stats,
            Command::Drain => Verb::Drain,
            Command::Reload => Verb::Reload,
            Command::Disconnect(_) => Verb::Disconnect,
            Command::Revoke(..) => Verb::Revoke,
            Command::LogLevel(_) => Verb::LogLevel,
            Command::Connections(_) => Verb::Connections,
            Command::Events(_) => Verb::History,
            Command::Access(_) => Verb::Access,
            Command::Tap(_) => Verb::Tap,
            Command::Why(_) => Verb::Why,
        }
    }
}

/// How long a revocation is remembered if nothing is said.
const REVOKED_FOR: Duration = Duration::from_secs(24 * 3600);

/// How long a tap lasts ...
const TAP_LASTS: Duration = Duration::from_secs(60);
/// ... and how many copies it gives, if nothing is said.
const TAP_COPIES: usize = 1000;

/// The field at fault and a sentence.
pub type Fault = (&'static str, String);

type Object = Map<String, Value>;

/// Rows of a list where nothing is said.
const LIMIT: usize = 100;

const A_CONNECTION_ID: &str = "a connectionId, like c1f";

type Read = fn(&Object) -> Result<Command, Fault>;

/// What each command takes beside its name, and how it is read.
fn form(verb: Verb) -> (&'static [&'static str], Read) {
    match verb {
        Verb::Stats => (&["latencies"], stats),
        Verb::Drain => (&[], |_| Ok(Command::Drain)),
        Verb::Reload => (&[], |_| Ok(Command::Reload)),
        Verb::Disconnect => (&["user", "session", "connection", "role"], disconnect),
        Verb::Revoke => (&["user", "session", "for"], revoke),
        Verb::LogLevel => (&["level"], log_level),
        Verb::Connections => (
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
        Verb::History => (&["type", "namespace", "data", "limit"], history),
        Verb::Access => (&["try"], access),
        Verb::Tap => (&["type", "namespace", "user", "for", "limit"], tap),
        Verb::Why => (&["event", "user", "connection"], why),
    }
}

/// Reads a command line, a JSON object that has the member `command`.
pub fn parse(line: &[u8]) -> Result<Command, Fault> {
    let object: Object = serde_json::from_slice(line)
        .map_err(|_| ("command", "the line is not a JSON object".to_owned()))?;
    let verb = object
        .get("command")
        .and_then(Value::as_str)
        .and_then(Verb::parse);
    let Some(verb) = verb else {
        let names = Verb::ALL.map(Verb::name).join(", ");
        return Err((
            "command",
            format!("the command is unknown; there are {names}"),
        ));
    };
    let (fields, read) = form(verb);
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
    let after = one_of(object, "after", listing::parse_connection_id, || {
        A_CONNECTION_ID.to_owned()
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
    let (kind, namespace) = kind_within_namespace(object)?;
    Ok(Command::Events(EventsWanted {
        kind,
        namespace,
        data: truth(object, "data")?,
        limit: limit(object)?,
    }))
}

fn tap(object: &Object) -> Result<Command, Fault> {
    let lasts = one_within(object, "for", 1..=ms(limits::TAP_LASTS_MAX), "of ms")?;
    let copies = one_within(
        object,
        "limit",
        1..=limits::TAP_COPIES_MAX as u64,
        "of events",
    )?;
    let (kind, namespace) = kind_within_namespace(object)?;
    Ok(Command::Tap(TapWanted {
        kind,
        namespace,
        user: text(object, "user")?,
        lasts: lasts.map_or(TAP_LASTS, Duration::from_millis),
        limit: copies.map_or(TAP_COPIES, |copies| copies as usize),
    }))
}

fn why(object: &Object) -> Result<Command, Fault> {
    const ALLOWED: &str = "why takes exactly one of user and connection, a string";
    let event = text(object, "event")?
        .ok_or_else(|| ("event", "why needs event: the event's id".to_owned()))?;
    let (field, id) = the_only(object, &["user", "connection"], ALLOWED)?;
    let whose = match field {
        "user" => Whose::User(id),
        _ => {
            let serial = listing::parse_connection_id(&id);
            let message = || format!("{field} must be {A_CONNECTION_ID}");
            Whose::Connection(serial.ok_or_else(|| (field, message()))?)
        }
    };
    Ok(Command::Why(WhyWanted { event, whose }))
}

/// The type and the namespace that are wanted; no event is of a type outside of its namespace, so that whoever
/// asks for one would wait for ever.
fn kind_within_namespace(object: &Object) -> Result<(Option<EventType>, Option<Namespace>), Fault> {
    let kind = one_of(object, "type", EventType::from_name, || {
        "an event type, like order:created".to_owned()
    })?;
    let namespace = namespace(object)?;
    match (kind, namespace) {
        (Some(kind), Some(wanted)) if kind.namespace() != wanted => {
            let (kind, own) = (kind.name(), kind.namespace().name());
            let wanted = wanted.name();
            Err((
                "type",
                format!(
                    "type {kind} is of the namespace {own}, not of {wanted}: leave one of them out"
                ),
            ))
        }
        both => Ok(both),
    }
}

/// A whole number within these bounds, where there is one.
fn one_within(
    object: &Object,
    field: &'static str,
    allowed: RangeInclusive<u64>,
    unit: &str,
) -> Result<Option<u64>, Fault> {
    let Some(given) = object.get(field) else {
        return Ok(None);
    };
    let number = given.as_u64().filter(|number| allowed.contains(number));
    number.map(Some).ok_or_else(|| {
        let (least, most) = allowed.into_inner();
        let message = format!("{field} must be a whole number {unit}, from {least} to {most}");
        (field, message)
    })
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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

fn access(object: &Object) -> Result<Command, Fault> {
    const ALLOWED: &str = "try must be an object like {\"orders\":{\"admin\":\"all\",\"customer\":\"own\"}}: \
        namespaces, in each of them roles, and for each of these all, own or none";
    let wrong = |why: &str| ("try", format!("{ALLOWED}; {why}"));
    let mut table = AccessTable::default();
    let rows = object.get("try").and_then(Value::as_object);
    for (name, row) in rows.ok_or_else(|| wrong("it is none"))? {
        let namespace = Namespace::parse(name).ok_or_else(|| {
            let known = names(Namespace::ALL.map(Namespace::name));
            wrong(&format!("a namespace is {known}"))
        })?;
        let row = row.as_object().ok_or_else(|| wrong("a row is none"))?;
        let cells = row.iter().map(|(name, access)| {
            let access = access.as_str().and_then(Access::parse);
            Some((role(name)?, access?))
        });
        let cells: Option<Vec<(Role, Access)>> = cells.collect();
        let cells = cells.ok_or_else(|| wrong(&format!("the row {name} has something else")))?;
        table
            .set_row(namespace, &cells)
            .map_err(|why| wrong(&format!("the row {name}: {why}")))?;
    }
    Ok(Command::Access(table))
}

fn disconnect(object: &Object) -> Result<Command, Fault> {
    const ALLOWED: &str =
        "disconnect takes exactly one of user, session, connection and role, a string";
    let fields = ["user", "session", "connection", "role"];
    let (field, text) = the_only(object, &fields, ALLOWED)?;
    let selector = match field {
        "user" => Selector::User(text),
        "session" => Selector::Session(text),
        "connection" => Selector::Connection(text),
        _ => {
            let allowed = || format!("role must be {}", names(Role::ALL.map(Role::name)));
            Selector::Role(role(&text).ok_or_else(|| (field, allowed()))?)
        }
    };
    Ok(Command::Disconnect(selector))
}

fn role(name: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|role| role.name() == name)
}

fn revoke(object: &Object) -> Result<Command, Fault> {
    const ALLOWED: &str = "revoke takes exactly one of user and session, a string";
    let (field, id) = the_only(object, &["user", "session"], ALLOWED)?;
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
fn the_only(
    object: &Object,
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
mod tests;
