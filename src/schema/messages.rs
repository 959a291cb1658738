//! What is said on the WebSocket and on the ingest socket, message by message, with schemas.
//!
//! Events and lines are the catalogue's; the rest is written here once more than in `reactor` and
//! `router`, which read and write it field by field: `tests/server/schema.rs` holds the two against
//! each other.

use serde_json::{Map, Value, json};

use super::json_schema::{Refs, about, data, event_name, line_name, of_rule};
use super::{camel_case, pascal_case};
use crate::access::{Access, Namespace, Role};
use crate::event::Code;
use crate::event::catalogue::{EventType, PUBLISHABLE, Rule};
use crate::limits::{LAST_MAX, LIST_MAX, TAP_COPIES_MAX, TAP_LASTS_MAX};
use crate::logging::LEVELS;

/// One kind of message.
pub(super) struct Message {
    /// What the document calls it.
    pub(super) key: String,
    /// Its `type` on the wire, or what it is called where it has none.
    pub(super) name: &'static str,
    /// One sentence.
    pub(super) about: &'static str,
    /// Its schema.
    pub(super) payload: Value,
}

impl Message {
    fn new(name: &'static str, about: &'static str, payload: Value) -> Message {
        Message {
            key: camel_case(name),
            name,
            about,
            payload,
        }
    }

    /// A message of the form `{"type":…,"data":{…}}`.
    fn with_data(name: &'static str, about: &'static str, data: Value) -> Message {
        let payload = object(&[("type", json!({ "const": name })), ("data", data)], &[]);
        Message::new(name, about, payload)
    }
}

/// An object with these fields. It may have others: whoever reads it ignores them.
fn object(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let all = required.iter().chain(optional);
    let properties: Map<String, Value> = all
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    let required: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn string(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn truth(description: &str) -> Value {
    about(description, json!({ "type": "boolean" }))
}

/// A number without a fraction, 0 or more.
fn count(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

fn namespaces(description: &str, refs: Refs) -> Value {
    json!({ "type": "array", "items": refs.to("Namespace"), "description": description })
}

/// What every client may send.
pub(super) fn requests(refs: Refs) -> Vec<Message> {
    let token = string("A JWT.");
    vec![
        Message::with_data(
            "auth",
            "Shows a token, or a newer one of the same user.",
            object(&[("token", token)], &[]),
        ),
        Message::with_data(
            "subscribe",
            "Asks for namespaces: for all of them, or with one that is unknown or forbidden for none.",
            subscribe(refs),
        ),
        Message::with_data(
            "unsubscribe",
            "No longer wants namespaces.",
            named_namespaces(&[], refs),
        ),
        Message::new(
            "ping",
            "Asks for a pong.",
            object(&[("type", json!({ "const": "ping" }))], &[]),
        ),
    ]
}

fn subscribe(refs: Refs) -> Value {
    let events = json!({
        "type": "array",
        "items": refs.to("EventType"),
        "description": "Narrows those of the namespaces that it names types of. A type outside of them is refused, \
            which a schema cannot tell.",
    });
    let last = json!({
        "type": "integer",
        "minimum": 1,
        "maximum": LAST_MAX,
        "description": "Begin with the newest so many kept events, written without a decimal point.",
    });
    let since = string("The id, or position, to go on from.");
    let conflate = json!({
        "type": "boolean",
        "description": "Whether, while much waits for this client, an inventory:updated or product:price_changed may give \
            way to a newer one of the same product. It holds for the whole connection.",
    });
    let mut schema = named_namespaces(
        &[
            ("events", events),
            ("since", since),
            ("last", last),
            ("conflate", conflate),
        ],
        refs,
    );
    schema["not"] = json!({ "required": ["since", "last"] });
    schema
}

/// The data of what names namespaces, in either way, and has these fields besides.
fn named_namespaces(others: &[(&str, Value)], refs: Refs) -> Value {
    let mut many = namespaces("At least one.", refs);
    many["minItems"] = 1.into();
    let mut optional = vec![("namespaces", many), ("namespace", refs.to("Namespace"))];
    optional.extend_from_slice(others);
    let mut schema = object(&[], &optional);
    schema["anyOf"] = json!([{ "required": ["namespaces"] }, { "required": ["namespace"] }]);
    schema
}

/// What a customer may publish about itself.
pub(super) fn published(refs: Refs) -> Vec<Message> {
    let message = |kind: EventType| {
        let mut payload = object(
            &[
                ("type", json!({ "const": kind.name() })),
                ("data", data(kind, refs, &["customerId", "timestamp"])),
            ],
            &[
                ("timestamp", of_rule(Rule::Timestamp, refs)),
                ("namespace", json!({ "const": kind.namespace().name() })),
            ],
        );
        payload["additionalProperties"] = false.into();
        Message {
            key: format!("publish{}", pascal_case(kind.name())),
            ..Message::new(kind.name(), kind.about(), payload)
        }
    };
    PUBLISHABLE.map(message).into()
}

/// The `code`s of an `error` message.
const ERROR_CODES: [&str; 7] = [
    "invalid_message",
    "unknown_type",
    "unauthorized",
    "token_expired",
    "forbidden",
    "rate_limited",
    "too_large",
];

/// What the server says on its own account.
pub(super) fn answers(refs: Refs) -> Vec<Message> {
    let expires_at = count("When the token ends, in ms since 1970.");
    let session = json!({ "type": ["string", "null"], "description": "The session, if the token names one." });
    let position = "The id behind which events begin. Beside recovered:true and last it lies behind what is still to \
        be replayed.";
    vec![
        Message::with_data(
            "welcome",
            "The first message of every connection.",
            object(
                &[
                    (
                        "connectionId",
                        string("Names this connection to an operator."),
                    ),
                    ("server", string("Name and version, as shopwire/1.0.0.")),
                    ("pingInterval", count("How often the server pings, in ms.")),
                ],
                &[],
            ),
        ),
        Message::with_data(
            "authenticated",
            "A token was accepted and is in force.",
            object(
                &[
                    ("userId", string("The user.")),
                    ("role", refs.to("Role")),
                    ("sessionId", session),
                    ("expiresAt", expires_at.clone()),
                ],
                &[],
            ),
        ),
        Message::with_data(
            "subscribed",
            "The subscription is in force.",
            object(
                &[
                    (
                        "namespaces",
                        namespaces("All that are subscribed now.", refs),
                    ),
                    ("position", string(position)),
                ],
                &[
                    (
                        "recovered",
                        json!({
                            "type": "boolean",
                            "description": "Where since was given: whether all events after it follow. If not, load the \
                                state anew.",
                        }),
                    ),
                    (
                        "online",
                        count("Where customers was asked for: how many customers are online."),
                    ),
                ],
            ),
        ),
        Message::with_data(
            "unsubscribed",
            "Namespaces were left, on the client's wish or because its role has changed.",
            object(
                &[("namespaces", namespaces("Those still subscribed.", refs))],
                &[],
            ),
        ),
        Message::new(
            "pong",
            "The answer to ping.",
            object(
                &[
                    ("type", json!({ "const": "pong" })),
                    ("timestamp", count("The server's clock, in ms since 1970.")),
                ],
                &[],
            ),
        ),
        Message::with_data(
            "error",
            "A message was refused; the connection stays open unless a close follows.",
            error(),
        ),
        Message::with_data(
            "conflated",
            "Waiting events gave way to newer ones of their products, as the client had asked.",
            object(
                &[(
                    "dropped",
                    count("Events that gave way since the last conflated."),
                )],
                &[],
            ),
        ),
        Message::with_data(
            "token:expiring",
            "The token is about to end: time for a new one.",
            object(&[("expiresAt", expires_at)], &[]),
        ),
        Message::with_data(
            "reconnect",
            "The server is draining: come back later. A close with 1001 follows.",
            object(&[("after", count("Come back after so many ms."))], &[]),
        ),
    ]
}

fn error() -> Value {
    object(
        &[
            ("code", json!({ "enum": ERROR_CODES })),
            (
                "message",
                string("One sentence: what was wrong and what is allowed."),
            ),
        ],
        &[
            (
                "request",
                string("The type of the message at fault, if it could be read."),
            ),
            (
                "field",
                string("The field at fault, in what a customer published."),
            ),
            (
                "retryAfter",
                count("With rate_limited: try again after so many ms."),
            ),
        ],
    )
}

/// Every event as it is sent.
pub(super) fn events(refs: Refs) -> Vec<Message> {
    EventType::ALL
        .map(|kind| Message::new(kind.name(), kind.about(), refs.to(&event_name(kind))))
        .into()
}

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
            ("user", string("The user's id.")),
        ],
    );
    why["required"] = json!(["command", "event", "user"]);
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
            "Asks whether a user was sent an event, or by which rule not.",
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
pub(super) fn line_answers() -> Vec<Message> {
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
                &[("id", newest)],
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
