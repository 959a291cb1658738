//! The protocol as an AsyncAPI 3.0 document: the WebSocket and the ingest socket, with all messages
//! both ways.
//!
//! It speaks as the server does: what it receives is what clients and emitters send. Close codes, for
//! which AsyncAPI has no place, are an extension, `x-close-codes`.

use serde_json::{Map, Value, json};

use super::ingest;
use super::json_schema::{Refs, beyond_schemas, definitions};
use super::messages::{self, Message};
use super::text;
use crate::wire::CloseReason;

/// The document's text.
pub fn asyncapi() -> String {
    text(&document())
}

const WEBSOCKET: &str = "websocket";
const INGEST: &str = "ingest";

fn document() -> Value {
    let refs = Refs("#/components/schemas/");
    let [websocket, ingest] = [websocket(refs), ingest(refs)];
    let mut operations = Map::new();
    websocket.operations(&mut operations);
    ingest.operations(&mut operations);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "shopwire",
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!("{}. {}", env!("CARGO_PKG_DESCRIPTION"), beyond_schemas()),
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "defaultContentType": "application/json",
        "servers": {
            WEBSOCKET: {
                "host": "127.0.0.1:3001",
                "protocol": "ws",
                "description": "Where serve listens: --host and --port. Behind a proxy that ends TLS it is wss.",
            },
            INGEST: {
                "host": "localhost",
                "pathname": "/run/shopwire/shopwire.sock",
                "protocol": "unix",
                "description": "A Unix stream socket on the server's own host: --socket. One JSON object a line, both \
                    ways.",
            },
        },
        "channels": { WEBSOCKET: websocket.document(), INGEST: ingest.document() },
        "operations": operations,
        "components": { "schemas": definitions(refs) },
    })
}

/// A place where messages go both ways.
struct Channel {
    name: &'static str,
    address: Option<&'static str>,
    about: &'static str,
    /// Fields that only this one has.
    extra: Map<String, Value>,
    exchanges: Vec<Exchange>,
}

/// Messages with the same purpose, and what answers them.
struct Exchange {
    name: &'static str,
    about: &'static str,
    way: Way,
    messages: Vec<Message>,
    /// Keys of the messages of this channel that answer.
    answers: &'static [&'static str],
}

/// Who speaks.
enum Way {
    ToServer,
    FromServer,
}

fn websocket(refs: Refs) -> Channel {
    let mut requests = messages::requests(refs);
    let mut request = |name: &str| vec![taken(&mut requests, name)];
    let mut said = messages::answers(refs);
    let mut pushed = messages::events(refs);
    pushed.push(taken(&mut said, "conflated"));
    let ends = ["token:expiring", "reconnect"].map(|name| taken(&mut said, name));
    Channel {
        name: WEBSOCKET,
        address: Some("/api/ws"),
        about: "Text messages, each one JSON object. Answers keep the order of the questions. Clients ignore message \
            types and fields that they do not know.",
        extra: Map::from_iter([
            ("bindings".to_owned(), json!({ "ws": handshake() })),
            ("x-close-codes".to_owned(), close_codes()),
        ]),
        exchanges: vec![
            Exchange {
                name: "authenticate",
                about: "A client shows a token. If the first one is refused, a close with 4401 follows the error.",
                way: Way::ToServer,
                messages: request("auth"),
                answers: &["authenticated", "unsubscribed", "error"],
            },
            Exchange {
                name: "subscribe",
                about: "A client asks for namespaces.",
                way: Way::ToServer,
                messages: request("subscribe"),
                answers: &["subscribed", "error"],
            },
            Exchange {
                name: "unsubscribe",
                about: "A client leaves namespaces.",
                way: Way::ToServer,
                messages: request("unsubscribe"),
                answers: &["unsubscribed", "error"],
            },
            Exchange {
                name: "ping",
                about: "A client asks whether the server is there.",
                way: Way::ToServer,
                messages: request("ping"),
                answers: &["pong", "error"],
            },
            Exchange {
                name: "publish",
                about: "A customer tells about itself. There is no answer on success.",
                way: Way::ToServer,
                messages: messages::published(refs),
                answers: &["error"],
            },
            Exchange {
                name: "answer",
                about: "The server greets, and answers what clients send.",
                way: Way::FromServer,
                messages: said,
                answers: &[],
            },
            Exchange {
                name: "push",
                about: "The server sends the events that a client has subscribed to and may see.",
                way: Way::FromServer,
                messages: pushed,
                answers: &[],
            },
            Exchange {
                name: "announce",
                about: "The server says what is about to end.",
                way: Way::FromServer,
                messages: ends.into(),
                answers: &[],
            },
        ],
    }
}

/// Takes the message of that name out of a list that has it.
fn taken(messages: &mut Vec<Message>, name: &str) -> Message {
    let at = messages.iter().position(|message| message.name == name);
    messages.swap_remove(at.expect("the names are those that the list is made with"))
}

/// The handshake's headers. A client may show its token in either.
fn handshake() -> Value {
    json!({
        "method": "GET",
        "headers": {
            "type": "object",
            "properties": {
                "Authorization": {
                    "type": "string",
                    "description": "Bearer and a JWT. Without a token the connection is public.",
                },
                "Sec-WebSocket-Protocol": {
                    "type": "string",
                    "description": "shopwire.v1, and beside it token.JWT where the client cannot set Authorization, \
                        as browsers cannot.",
                },
            },
        },
        "bindingVersion": "0.1.0",
    })
}

fn close_codes() -> Value {
    let codes = CloseReason::ALL
        .into_iter()
        .filter(|reason| *reason != CloseReason::Gone);
    codes
        .map(|reason| {
            json!({
                "code": reason.code(),
                "reason": reason.text(),
                "comeBack": reason.client_should_return(),
            })
        })
        .collect()
}

fn ingest(refs: Refs) -> Channel {
    Channel {
        name: INGEST,
        address: None,
        about: "NDJSON: one JSON object a line, both ways. An emitter's lines keep their order.",
        extra: Map::new(),
        exchanges: vec![
            Exchange {
                name: "emit",
                about: "An emitter sends events.",
                way: Way::ToServer,
                messages: ingest::lines(refs),
                answers: &["ack", "refusal"],
            },
            Exchange {
                name: "command",
                about: "An operator, who is the server's own user or root, asks the server.",
                way: Way::ToServer,
                messages: ingest::commands(),
                answers: &["result", "refusal", "ack"],
            },
            Exchange {
                name: "settle",
                about: "The server answers lines.",
                way: Way::FromServer,
                messages: ingest::answers(),
                answers: &[],
            },
        ],
    }
}

impl Channel {
    fn document(&self) -> Value {
        let messages = self
            .exchanges
            .iter()
            .flat_map(|exchange| &exchange.messages);
        let messages: Map<String, Value> = messages
            .map(|message| {
                let document = json!({
                    "name": message.name,
                    "summary": message.about,
                    "payload": message.payload,
                });
                (message.key.clone(), document)
            })
            .collect();
        let mut channel = json!({
            "address": self.address,
            "description": self.about,
            "servers": [{ "$ref": format!("#/servers/{}", self.name) }],
            "messages": messages,
        });
        for (name, value) in &self.extra {
            channel[name] = value.clone();
        }
        channel
    }

    fn operations(&self, operations: &mut Map<String, Value>) {
        for exchange in &self.exchanges {
            let keys = exchange.messages.iter().map(|message| message.key.as_str());
            let mut operation = json!({
                "action": match exchange.way {
                    Way::ToServer => "receive",
                    Way::FromServer => "send",
                },
                "channel": self.reference(),
                "summary": exchange.about,
                "messages": self.references(keys),
            });
            if !exchange.answers.is_empty() {
                operation["reply"] = json!({
                    "channel": self.reference(),
                    "messages": self.references(exchange.answers.iter().copied()),
                });
            }
            operations.insert(exchange.name.to_owned(), operation);
        }
    }

    fn reference(&self) -> Value {
        json!({ "$ref": format!("#/channels/{}", self.name) })
    }

    fn references<'a>(&self, keys: impl Iterator<Item = &'a str>) -> Vec<Value> {
        let path = |key| format!("#/channels/{}/messages/{key}", self.name);
        keys.map(|key| json!({ "$ref": path(key) })).collect()
    }
}

#[cfg(test)]
#[path = "asyncapi_tests.rs"]
mod tests;
