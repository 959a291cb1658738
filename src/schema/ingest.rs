//! What is said on the ingest socket, line by line, with schemas: events, an operator's commands, and the
//! server's answers. As in [`super::messages`], what is not the catalogue's is written here once more.

use serde_json::{Map, Value, json};

use super::json_schema::{Refs, about, line_name};
use super::messages::{Message, count, object, string, truth};
use crate::access::{Access, Namespace, Role};
use crate::event::Code;
use crate::event::catalogue::EventType;
use crate::limits::{LIST_MAX, TAP_COPIES_MAX, TAP_LASTS_MAX};
use crate::logging::LEVELS;

/// The lines that are events.
pub(super) fn lines(refs: Refs) -> Vec<Message> {
    EventType::ALL
        .map(|kind| Message::new(kind.name(), kind.about(), refs.to(&line_name(kind))))
        .into()
}

/// The lines that are an operator's commands.
pub(super) fn commands() -> Vec<Message> {
    let command = |name: &str, others: &[(&str, Value)]| {
        let mut payload = object(&[("command", json!({ "const": name }))], others);
        payload["additionalProperties"] = false.into();
        payload
    };
    let mut disconnect = command(
        "disconnect",
        &[
            ("user", string("Close all connections of this user.")),
            ("session", string("Close all connections of this session.")),
            (
                "connection",
                string("Close this connection, the connectionId of its welcome."),
            ),
            (
                "role",
                json!({
                    "description": "Close all connections of this role.",
                    "enum": Role::ALL.map(Role::name),
                }),
            ),
        ],
    );
    disconnect["oneOf"] = json!([
        { "required": ["user"] },
        { "required": ["session"] },
        { "required": ["connection"] },
        { "required": ["role"] },
    ]);
    let mut revoke = command(
        "revoke",
        &[
            ("user", string("Refuse the tokens of this user.")),
            ("session", string("Refuse the tokens of this session.")),
            (
                "for",
                count("Remember it for so many ms, at least; a day if left out."),
            ),
        ],
    );
    revoke["oneOf"] = json!([{ "required": ["user"] }, { "required": ["session"] }]);
    let levels = LEVELS.map(|(name, _)| name);
    let mut log_level = object(
        &[
            ("command", json!({ "const": "log-level" })),
            ("level", json!({ "enum": levels })),
        ],
        &[],
    );
    log_level["additionalProperties"] = false.into();
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": LIST_MAX, "default": 100 });
    let namespaces = Namespace::ALL.map(Namespace::name);
    let connections = command(
        "connections",
        &[
            ("role", json!({ "enum": Role::ALL.map(Role::name) })),
            ("user", string("Only those of this user.")),
            ("session", string("Only those of this session.")),
            ("namespace", json!({ "enum": namespaces })),
            (
                "slow",
                truth("Only those for whom something waits, most first."),
            ),
            (
                "after",
                string("Go on behind this connection: the next of the page before."),
            ),
            ("limit", limit.clone()),
        ],
    );
    let kinds = EventType::ALL.map(EventType::name);
    let history = command(
        "history",
        &[
            ("type", json!({ "enum": kinds })),
            ("namespace", json!({ "enum": namespaces })),
            ("data", truth("With their data, up to 1 MiB in all.")),
            ("limit", limit),
        ],
    );
    let tap = command(
        "tap",
        &[
            ("type", json!({ "enum": kinds })),
            ("namespace", json!({ "enum": namespaces })),
            (
                "user",
                string("Only those that name this user, as an owner or in to.userIds."),
            ),
            ("for", bounded(TAP_LASTS_MAX.as_millis() as u64, 60_000)),
            ("limit", bounded(TAP_COPIES_MAX as u64, 1000)),
        ],
    );
    let mut why = command(
        "why",
        &[
            ("event", string("The event's id.")),
            ("user", string("On all connections of this user.")),
            (
                "connection",
                string("On this connection, the connectionId of its welcome."),
            ),
        ],
    );
    why["required"] = json!(["command", "event"]);
    why["oneOf"] = json!([{ "required": ["user"] }, { "required": ["connection"] }]);
    let degrees = json!({ "enum": Access::EACH.map(Access::name) });
    let cells: Map<String, Value> = Role::ALL
        .map(|role| (role.name().to_owned(), degrees.clone()))
        .into_iter()
        .collect();
    let row = json!({ "type": "object", "properties": cells, "additionalProperties": false });
    let rows: Map<String, Value> = namespaces
        .map(|namespace| (namespace.to_owned(), row.clone()))
        .into_iter()
        .collect();
    let tried = json!({
        "description": "Rows that replace those of the default table, as in the configuration.",
        "type": "object",
        "properties": rows,
        "additionalProperties": false,
    });
    let mut access = command("access", &[("try", tried)]);
    access["required"] = json!(["command", "try"]);
    vec![
        Message::new(
            "stats",
            "Asks for the server's statistics.",
            command(
                "stats",
                &[(
                    "latencies",
                    truth("With all latencies since the start, as [longest in µs, deliveries]."),
                )],
            ),
        ),
        Message::new(
            "drain",
            "Lets the server say goodbye to everybody and end.",
            command("drain", &[]),
        ),
        Message::new(
            "reload",
            "Has settings, keys and certificates read again; open connections stay.",
            command("reload", &[]),
        ),
        Message::new("disconnect", "Closes connections with 4403.", disconnect),
        Message::new(
            "revoke",
            "Closes connections with 4403, and refuses the tokens that were made so far.",
            revoke,
        ),
        Message::new(
            "log-level",
            "Changes which lines are logged, until the server ends.",
            log_level,
        ),
        Message::new(
            "connections",
            "Lists open connections, as they came or the slowest first.",
            connections,
        ),
        Message::new("history", "Lists kept events, the newest first.", history),
        Message::new(
            "access",
            "Asks what another access table would change for those who are connected.",
            access,
        ),
        Message::new(
            "tap",
            "Asks for copies of events as they pass, for so many ms or until there are so many.",
            tap,
        ),
        Message::new(
            "why",
            "Asks whether a user or a connection was sent an event, or by which rule not.",
            why,
        ),
    ]
}

/// A whole number from 1.
fn bounded(most: u64, default: u64) -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": most, "default": default })
}

/// The codes of refused commands, beside those of refused lines.
const COMMAND_CODES: [&str; 2] = ["invalid_command", "reload_failed"];

/// The server's lines on the ingest socket.
pub(super) fn answers() -> Vec<Message> {
    let codes: Vec<&str> = Code::ALL
        .map(Code::as_str)
        .into_iter()
        .chain(COMMAND_CODES)
        .collect();
    let refusal = object(
        &[
            ("line", count("The line's number, from 1.")),
            ("code", json!({ "enum": codes })),
            (
                "message",
                string("One sentence: what was wrong and what is allowed."),
            ),
        ],
        &[(
            "field",
            string("The field at fault, unless it is the line as a whole."),
        )],
    );
    let newest = string("The newest accepted event of this connection, if there is one.");
    let copied = object(
        &[
            (
                "event",
                about("As browsers are sent it.", json!({ "type": "object" })),
            ),
            (
                "to",
                about(
                    "Its target, with what its data say of that.",
                    json!({ "type": "object" }),
                ),
            ),
        ],
        &[],
    );
    vec![
        Message::new(
            "ack",
            "So many lines of this connection are settled; one for a batch.",
            object(
                &[("ack", count("How many lines are settled."))],
                &[
                    ("id", newest),
                    (
                        "local",
                        about(
                            "The event that id names was delivered on this host alone so far: the others follow \
                             when Redis is back.",
                            json!({ "const": true }),
                        ),
                    ),
                ],
            ),
        ),
        Message::new(
            "refusal",
            "A line was refused; comes before the ack that covers it.",
            object(&[("error", refusal)], &[]),
        ),
        Message::new(
            "copy",
            "An event that passes, for one who taps; comes before the result.",
            copied,
        ),
        Message::new(
            "result",
            "The answer to a command.",
            object(
                &[(
                    "result",
                    about("By the command.", json!({ "type": "object" })),
                )],
                &[],
            ),
        ),
    ]
}
