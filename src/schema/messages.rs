//! What is said on the WebSocket, message by message, with schemas; the ingest socket is [`super::ingest`]'s.
//!
//! Events and lines are the catalogue's; the rest is written here once more than in `reactor` and
//! `router`, which read and write it field by field: `tests/server/schema.rs` holds the two against
//! each other.

use serde_json::{Map, Value, json};

use super::json_schema::{Refs, about, data, event_name, of_rule};
use super::{camel_case, pascal_case};
use crate::event::catalogue::{EventType, PUBLISHABLE, Rule};
use crate::limits::LAST_MAX;

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
    pub(super) fn new(name: &'static str, about: &'static str, payload: Value) -> Message {
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
pub(super) fn object(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let all = required.iter().chain(optional);
    let properties: Map<String, Value> = all
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    let required: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

pub(super) fn string(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

pub(super) fn truth(description: &str) -> Value {
    about(description, json!({ "type": "boolean" }))
}

/// A number without a fraction, 0 or more.
pub(super) fn count(description: &str) -> Value {
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
const ERROR_CODES: [&str; 8] = [
    "invalid_message",
    "unknown_type",
    "unauthorized",
    "token_expired",
    "forbidden",
    "rate_limited",
    "too_many_connections",
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
